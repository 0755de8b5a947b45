package androidx.camera.core

import java.nio.ByteBuffer
import java.util.concurrent.Executor

open class UseCase

class CameraSelector {
    companion object {
        val DEFAULT_BACK_CAMERA: CameraSelector get() = TODO()
    }
}

interface ImageProxy : AutoCloseable {
    interface PlaneProxy {
        val buffer: ByteBuffer
        val rowStride: Int
    }

    val planes: Array<PlaneProxy>
    val width: Int
    val height: Int
}

class ImageAnalysis : UseCase() {
    fun interface Analyzer {
        fun analyze(image: ImageProxy)
    }

    fun setAnalyzer(executor: Executor, analyzer: Analyzer) {}

    class Builder {
        fun setOutputImageFormat(format: Int): Builder = TODO()

        fun setOutputImageRotationEnabled(enabled: Boolean): Builder = TODO()

        fun build(): ImageAnalysis = TODO()
    }

    companion object {
        const val OUTPUT_IMAGE_FORMAT_RGBA_8888 = 2
    }
}

class Preview : UseCase() {
    interface SurfaceProvider

    fun setSurfaceProvider(provider: SurfaceProvider) {}

    class Builder {
        fun build(): Preview = TODO()
    }
}
