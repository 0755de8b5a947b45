package android.content

import android.content.res.AssetManager
import java.io.File

open class ContentResolver

open class Context {
    val assets: AssetManager get() = TODO()
    val filesDir: File get() = TODO()
    val contentResolver: ContentResolver get() = TODO()
}
