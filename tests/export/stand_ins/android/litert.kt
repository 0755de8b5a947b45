// What the app says to LiteRT, as far as a compiler has to know it. Nothing here runs.
package org.tensorflow.lite

import java.nio.ByteBuffer

class Interpreter(model: ByteBuffer, options: Options) : AutoCloseable {
    class Options {
        fun setNumThreads(threads: Int): Options = TODO()
    }

    fun run(input: Any, output: Any) {}

    override fun close() {}
}
