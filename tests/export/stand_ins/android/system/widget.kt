package android.widget

open class View {
    var isEnabled: Boolean = true

    fun setOnClickListener(listener: (View) -> Unit) {}
}

open class TextView : View() {
    var text: CharSequence = ""

    fun setText(id: Int) {}
}

class Button : TextView()
