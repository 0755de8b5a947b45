package org.fleetnet.classify

/** What computes logits of the pixels that [Native.input] gives. */
interface Network : AutoCloseable {
    fun logits(pixels: ByteArray): FloatArray
}

/** A class and its probability. */
data class Score(val name: String, val probability: Float)

/** Names the most probable classes of pictures; by one thread at a time. */
class Classifier(private val network: Network) : AutoCloseable {
    /** Takes an upright picture, RGB in rows. */
    fun classify(rgb: ByteArray, width: Int, height: Int, shown: Int = 5): List<Score> {
        val probabilities = Native.probabilities(network.logits(Native.input(rgb, width, height)))
        return probabilities.indices
            .sortedByDescending { probabilities[it] }
            .take(shown)
            .map { Score(String(Native.name(it), Charsets.UTF_8), probabilities[it]) }
    }

    override fun close() = network.close()
}
