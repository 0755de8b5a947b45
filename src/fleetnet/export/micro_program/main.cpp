// The most probable class of pictures, on a microcontroller: no memory but the arena is taken.
#include "model.h"
#include "model_data.h"

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

#include <cstdint>
#include <cstdio>

namespace {

alignas(16) uint8_t arena[model::arena_bytes];

// A picture of crop by crop pixels, row by row, R, G and B: put your camera here.
bool read_picture(uint8_t *pixels, size_t bytes) {
    return fread(pixels, 1, bytes, stdin) == bytes;
}

} // namespace

int main() {
    tflite::InitializeTarget();
    static tflite::MicroMutableOpResolver<model::operator_count> resolver;
    if (!model::add_operators(resolver)) {
        return 1;
    }
    static tflite::MicroInterpreter interpreter(
        tflite::GetModel(model_data), resolver, arena, sizeof arena);
    if (interpreter.AllocateTensors() != kTfLiteOk) {
        MicroPrintf("%u bytes are too few", static_cast<unsigned>(sizeof arena));
        return 1;
    }
    int8_t *const taken = interpreter.input(0)->data.int8;
    constexpr size_t bytes = size_t{model::crop} * model::crop * 3;
    // The picture's bytes are read to where the network takes them, and become signed there.
    while (read_picture(reinterpret_cast<uint8_t *>(taken), bytes)) {
        for (size_t place = 0; place < bytes; ++place) {
            taken[place] = static_cast<int8_t>(static_cast<uint8_t>(taken[place]) - 128);
        }
        if (interpreter.Invoke() != kTfLiteOk) {
            return 1;
        }
        const int8_t *const given = interpreter.output(0)->data.int8;
        int best = 0;
        for (int index = 1; index < model::class_count; ++index) {
            best = given[index] > given[best] ? index : best;
        }
        // The logit, in thousandths: not every board prints floating-point numbers.
        const float logit = model::scale * static_cast<float>(given[best] - model::zero_point);
        MicroPrintf("%s %d", model::classes[best], static_cast<int>(1000 * logit));
    }
    return 0;
}
