package androidx.core.content

import android.content.Context
import java.util.concurrent.Executor

object ContextCompat {
    fun checkSelfPermission(context: Context, permission: String): Int = TODO()

    fun getMainExecutor(context: Context): Executor = TODO()
}
