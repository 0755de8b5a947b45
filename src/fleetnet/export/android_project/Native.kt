package org.fleetnet.classify

/** The C core, and what model.h says of the network; what fails is a [RuntimeException]. */
object Native {
    init {
        System.loadLibrary("fleetnet")
    }

    /** Resizes and crops an upright picture, RGB in rows, to what the network takes. */
    external fun input(rgb: ByteArray, width: Int, height: Int): ByteArray

    external fun probabilities(logits: FloatArray): FloatArray

    external fun name(index: Int): ByteArray

    external fun batch(): Int

    external fun classes(): Int

    external fun hasNcnn(): Boolean

    external fun openNcnn(folder: ByteArray): Long

    external fun runNcnn(network: Long, pixels: ByteArray): FloatArray

    external fun closeNcnn(network: Long)
}
