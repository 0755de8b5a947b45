// What the program says to Rockchip's runtime, as far as a compiler has to know it. Nothing here
// runs.
#pragma once
#include <stdint.h>
extern "C" {
typedef uint64_t rknn_context;
enum rknn_tensor_type { RKNN_TENSOR_FLOAT32, RKNN_TENSOR_UINT8 = 3 };
enum rknn_tensor_format { RKNN_TENSOR_NCHW, RKNN_TENSOR_NHWC };
struct rknn_input {
  uint32_t index;
  void *buf;
  uint32_t size;
  uint8_t pass_through;
  rknn_tensor_type type;
  rknn_tensor_format fmt;
};
struct rknn_output {
  uint8_t want_float;
  uint8_t is_prealloc;
  uint32_t index;
  void *buf;
  uint32_t size;
};
struct rknn_init_extend;
struct rknn_run_extend;
struct rknn_output_extend;
int rknn_init(rknn_context *context, void *model, uint32_t size, uint32_t flag,
              rknn_init_extend *extend);
int rknn_destroy(rknn_context context);
int rknn_inputs_set(rknn_context context, uint32_t n_inputs, rknn_input inputs[]);
int rknn_run(rknn_context context, rknn_run_extend *extend);
int rknn_outputs_get(rknn_context context, uint32_t n_outputs, rknn_output outputs[],
                     rknn_output_extend *extend);
int rknn_outputs_release(rknn_context context, uint32_t n_outputs, rknn_output outputs[]);
}
