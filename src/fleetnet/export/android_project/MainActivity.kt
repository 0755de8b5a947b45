package org.fleetnet.classify

import android.Manifest
import android.content.pm.PackageManager
import android.graphics.Bitmap
import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Bundle
import android.os.SystemClock
import android.widget.Button
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.core.Preview
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import androidx.core.content.ContextCompat
import java.io.File
import java.io.FileInputStream
import java.nio.channels.FileChannel
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/** Shows what the camera sees, or a photograph, with the five most probable classes. */
class MainActivity : ComponentActivity() {
    /** Every picture is classified on this one thread, which also opens and closes networks. */
    private val worker: ExecutorService = Executors.newSingleThreadExecutor()
    private lateinit var answers: TextView
    private var classifier: Classifier? = null
    private var ncnn = false
    @Volatile private var live = true

    private val permission =
        registerForActivityResult(ActivityResultContracts.RequestPermission()) { granted ->
            if (granted) startCamera() else answers.setText(R.string.denied)
        }
    private val photograph =
        registerForActivityResult(ActivityResultContracts.GetContent()) { chosen ->
            if (chosen != null) classifyPhotograph(chosen)
        }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity)
        answers = findViewById(R.id.answers)
        val choose = findViewById<Button>(R.id.photograph)
        choose.setOnClickListener {
            if (live) {
                photograph.launch("image/*")
            } else {
                live = true
                choose.setText(R.string.photograph)
            }
        }
        val engine = findViewById<Button>(R.id.engine)
        // In int8 the app has no files for ncnn.
        engine.isEnabled = Native.hasNcnn() && "model.ncnn.param" in assets.list("").orEmpty()
        engine.text = "LiteRT"
        engine.setOnClickListener {
            ncnn = !ncnn
            engine.text = if (ncnn) "ncnn" else "LiteRT"
            open(ncnn)
        }
        open(ncnn)
        val camera = Manifest.permission.CAMERA
        if (ContextCompat.checkSelfPermission(this, camera) == PackageManager.PERMISSION_GRANTED) {
            startCamera()
        } else {
            permission.launch(camera)
        }
    }

    override fun onDestroy() {
        worker.execute { classifier?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private fun open(ncnn: Boolean) = worker.execute {
        classifier?.close()
        classifier = null
        saying { classifier = Classifier(if (ncnn) NcnnNetwork(unpacked()) else LiteRtNetwork(model())) }
    }

    private fun model() = assets.openFd("model.tflite").use { file ->
        FileInputStream(file.fileDescriptor).channel.use {
            it.map(FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength)
        }
    }

    /** ncnn reads files, so what is in the package is copied to some. */
    private fun unpacked(): File {
        for (name in listOf("model.ncnn.param", "model.ncnn.bin")) {
            assets.open(name).use { from -> File(filesDir, name).outputStream().use(from::copyTo) }
        }
        return filesDir
    }

    private fun startCamera() {
        val providers = ProcessCameraProvider.getInstance(this)
        providers.addListener({
            val preview = Preview.Builder().build()
            preview.setSurfaceProvider(findViewById<PreviewView>(R.id.preview).surfaceProvider)
            val analysis = ImageAnalysis.Builder()
                .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
                .setOutputImageRotationEnabled(true)
                .build()
            analysis.setAnalyzer(worker) { frame -> frame.use { if (live) classify(it) } }
            val provider = providers.get()
            provider.unbindAll()
            saying {
                provider.bindToLifecycle(this, CameraSelector.DEFAULT_BACK_CAMERA, preview, analysis)
            }
        }, ContextCompat.getMainExecutor(this))
    }

    private fun classify(frame: ImageProxy) {
        val plane = frame.planes[0]
        val rows = ByteArray(plane.buffer.remaining()).also { plane.buffer.get(it) }
        classify(rgbOf(rows, frame.width, frame.height, plane.rowStride), frame.width, frame.height)
    }

    /** Decodes at full size: it is the C core that resizes. EXIF's orientation is followed. */
    private fun classifyPhotograph(chosen: Uri) {
        live = false
        findViewById<Button>(R.id.photograph).setText(R.string.back)
        worker.execute {
            saying {
                val source = ImageDecoder.createSource(contentResolver, chosen)
                val decoded = ImageDecoder.decodeBitmap(source) { decoder, _, _ ->
                    decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
                    decoder.isUnpremultipliedRequired = true
                }
                val whole = decoded.copy(Bitmap.Config.ARGB_8888, false) ?: decoded
                val pixels = IntArray(whole.width * whole.height)
                whole.getPixels(pixels, 0, whole.width, 0, 0, whole.width, whole.height)
                classify(rgbOf(pixels), whole.width, whole.height)
            }
        }
    }

    private fun classify(rgb: ByteArray, width: Int, height: Int) {
        val classifier = classifier ?: return
        saying {
            val began = SystemClock.elapsedRealtimeNanos()
            val top = classifier.classify(rgb, width, height)
            val took = (SystemClock.elapsedRealtimeNanos() - began) / 1_000_000
            val lines = top.map { "%.1f %%  %s".format(100 * it.probability, it.name) }
            show((lines + "$took ms").joinToString("\n"))
        }
    }

    private fun saying(work: () -> Unit) {
        try {
            work()
        } catch (error: Exception) {
            show(error.message ?: error.toString())
        }
    }

    private fun show(text: String) = runOnUiThread { answers.text = text }
}
