package androidx.camera.lifecycle

import android.content.Context
import androidx.camera.core.CameraSelector
import androidx.camera.core.UseCase
import androidx.lifecycle.LifecycleOwner
import java.util.concurrent.Executor
import java.util.concurrent.Future

interface ListenableFuture<V> : Future<V> {
    fun addListener(work: Runnable, executor: Executor)
}

class Camera

class ProcessCameraProvider {
    fun unbindAll() {}

    fun bindToLifecycle(owner: LifecycleOwner, selector: CameraSelector, vararg uses: UseCase): Camera = TODO()

    companion object {
        fun getInstance(context: Context): ListenableFuture<ProcessCameraProvider> = TODO()
    }
}
