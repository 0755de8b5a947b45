// What the app says to Android, as far as a compiler has to know it. Nothing here runs.
@file:Suppress("unused", "UNUSED_PARAMETER")

package android

object Manifest {
    object permission {
        const val CAMERA = "android.permission.CAMERA"
    }
}
