#pragma once
#include "tensorflow/lite/micro/micro_interpreter.h"
namespace tflite {
template <unsigned count> class MicroMutableOpResolver : public MicroOpResolver {
  public:
    TfLiteStatus AddAdd();
    TfLiteStatus AddConv2D();
    TfLiteStatus AddDepthwiseConv2D();
    TfLiteStatus AddFullyConnected();
    TfLiteStatus AddMean();
    TfLiteStatus AddPad();
    TfLiteStatus AddTranspose();
};
} // namespace tflite
