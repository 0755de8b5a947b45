// In place of Rockchip's runtime: refuses what is no input of bytes, and keeps those that it got.
#include <rknn_api.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

static std::vector<unsigned char> given;

int rknn_init(rknn_context *context, void *model, uint32_t size, uint32_t, rknn_init_extend *) {
  *context = 7;
  return std::string(static_cast<char *>(model), size) == "a network" ? 0 : -6;
}

int rknn_destroy(rknn_context context) { return context == 7 ? 0 : -1; }

int rknn_inputs_set(rknn_context context, uint32_t count, rknn_input inputs[]) {
  if (context != 7 || count != 1 || inputs->index || inputs->pass_through ||
      inputs->type != RKNN_TENSOR_UINT8 || inputs->fmt != RKNN_TENSOR_NHWC)
    return -1;
  const unsigned char *first = static_cast<unsigned char *>(inputs->buf);
  given.assign(first, first + inputs->size);
  return 0;
}

int rknn_run(rknn_context context, rknn_run_extend *) {
  std::FILE *file = std::fopen("pixels", "wb");
  std::fwrite(given.data(), 1, given.size(), file);
  std::fclose(file);
  return context == 7 ? 0 : -1;
}

int rknn_outputs_get(rknn_context context, uint32_t count, rknn_output outputs[],
                     rknn_output_extend *) {
  if (context != 7 || count != 1 || outputs->index || !outputs->want_float ||
      !outputs->is_prealloc)
    return -1;
  float *logits = static_cast<float *>(outputs->buf);
  for (uint32_t i = 0; i < outputs->size / sizeof(float); ++i)
    logits[i] = static_cast<float>(i);
  return 0;
}

int rknn_outputs_release(rknn_context, uint32_t count, rknn_output[]) { return count == 1 ? 0 : -1; }
