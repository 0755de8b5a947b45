package org.fleetnet.classify

import java.io.File

/** The network in ncnn, on the processor, computing with 32 bits; its files are in a folder. */
class NcnnNetwork(folder: File) : Network {
    private var network = Native.openNcnn(folder.path.toByteArray())

    override fun logits(pixels: ByteArray): FloatArray {
        check(network != 0L) { "it is closed" }
        return Native.runNcnn(network, pixels)
    }

    override fun close() {
        Native.closeNcnn(network)
        network = 0L
    }
}
