package androidx.camera.view

import androidx.camera.core.Preview

class PreviewView {
    val surfaceProvider: Preview.SurfaceProvider get() = TODO()
}
