package org.fleetnet.classify

/** Returns RGB of a camera's RGBA, whose rows are [stride] bytes apart. */
fun rgbOf(rgba: ByteArray, width: Int, height: Int, stride: Int): ByteArray {
    val rgb = ByteArray(3 * width * height)
    var to = 0
    for (row in 0 until height) {
        var from = row * stride
        repeat(width) {
            rgb[to] = rgba[from]
            rgb[to + 1] = rgba[from + 1]
            rgb[to + 2] = rgba[from + 2]
            to += 3
            from += 4
        }
    }
    return rgb
}

/** Returns RGB of Android's colours, each of them a number. */
fun rgbOf(argb: IntArray): ByteArray {
    val rgb = ByteArray(3 * argb.size)
    argb.forEachIndexed { index, colour ->
        rgb[3 * index] = (colour shr 16).toByte()
        rgb[3 * index + 1] = (colour shr 8).toByte()
        rgb[3 * index + 2] = colour.toByte()
    }
    return rgb
}
