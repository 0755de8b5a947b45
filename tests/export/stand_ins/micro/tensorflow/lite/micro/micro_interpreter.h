// Of tflite-micro, what the exported program calls.
#pragma once
#include <cstddef>
#include <cstdint>
#include "tensorflow/lite/schema/schema_generated.h"
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
struct TfLiteTensor {
    union {
        int8_t *int8;
    } data;
};
namespace tflite {
class MicroOpResolver {};
class MicroInterpreter {
  public:
    MicroInterpreter(const Model *, const MicroOpResolver &, uint8_t *, size_t);
    TfLiteStatus AllocateTensors();
    TfLiteStatus Invoke();
    TfLiteTensor *input(size_t);
    TfLiteTensor *output(size_t);
};
} // namespace tflite
