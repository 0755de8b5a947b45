package android.graphics

import android.content.ContentResolver
import android.net.Uri

class Bitmap {
    enum class Config { ARGB_8888 }

    val width: Int get() = TODO()
    val height: Int get() = TODO()

    fun copy(config: Config, mutable: Boolean): Bitmap? = TODO()

    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int) {}
}

class ImageDecoder {
    class Source

    class ImageInfo

    fun interface OnHeaderDecodedListener {
        fun onHeaderDecoded(decoder: ImageDecoder, info: ImageInfo, source: Source)
    }

    var allocator: Int = 0
    var isUnpremultipliedRequired: Boolean = false

    companion object {
        const val ALLOCATOR_SOFTWARE = 1

        fun createSource(resolver: ContentResolver, uri: Uri): Source = TODO()

        fun decodeBitmap(source: Source, listener: OnHeaderDecodedListener): Bitmap = TODO()
    }
}
