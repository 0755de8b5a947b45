package android.content.res

import java.io.Closeable
import java.io.FileDescriptor
import java.io.InputStream

class AssetFileDescriptor : Closeable {
    val fileDescriptor: FileDescriptor get() = TODO()
    val startOffset: Long get() = TODO()
    val declaredLength: Long get() = TODO()

    override fun close() {}
}

class AssetManager {
    fun openFd(name: String): AssetFileDescriptor = TODO()

    fun open(name: String): InputStream = TODO()

    fun list(path: String): Array<String>? = TODO()
}
