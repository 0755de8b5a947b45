package org.fleetnet.classify

object R {
    object id {
        const val answers = 1
        const val photograph = 2
        const val engine = 3
        const val preview = 4
    }

    object layout {
        const val activity = 1
    }

    object string {
        const val denied = 1
        const val photograph = 2
        const val back = 3
    }
}
