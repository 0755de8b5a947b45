package org.fleetnet.classify

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Interpreter

/** The network in LiteRT, on the processor, computing with 32 bits. */
class LiteRtNetwork(model: ByteBuffer, threads: Int = 4) : Network {
    private val interpreter = Interpreter(model, Interpreter.Options().setNumThreads(threads))
    private val found = buffer(Native.batch() * Native.classes() * Float.SIZE_BYTES)

    override fun logits(pixels: ByteArray): FloatArray {
        val given = buffer(pixels.size)
        given.put(pixels).rewind()
        found.rewind()
        interpreter.run(given, found)
        found.rewind()
        return FloatArray(Native.classes()).also { found.asFloatBuffer().get(it) }
    }

    override fun close() = interpreter.close()

    private fun buffer(size: Int) = ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder())
}
