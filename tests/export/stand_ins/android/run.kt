package org.fleetnet.classify

import java.io.File

/** Prints the answers for raw RGB in a file: what the tests run, in place of the app. */
fun main(arguments: Array<String>) {
    val (folder, image, width, height) = arguments
    check(Native.hasNcnn())
    val classifier = Classifier(NcnnNetwork(File(folder)))
    classifier.use { open ->
        val found = open.classify(File(image).readBytes(), width.toInt(), height.toInt())
        found.forEach { println("$image: ${it.name} ${it.probability}") }
    }
    for (size in listOf(5, 3)) {
        val refused = runCatching { classifier.classify(ByteArray(size), 1, 1) }
        println("refused: ${refused.exceptionOrNull()?.message}")
    }
    val rows = byteArrayOf(1, 2, 3, 9, 4, 5, 6, 9, 0, 0, 7, 8, 9, 9, 1, 2, 3, 9)
    println("rows: ${rgbOf(rows, 2, 2, 10).toList()}")
    println("colours: ${rgbOf(intArrayOf(0x7f010203, -1)).toList()}")
}
