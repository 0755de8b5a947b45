// The network on the neural processor of one of Rockchip's chips.
#include "model.h"
#include "network.h"

#include <rknn_api.h>

#include <fstream>
#include <iterator>
#include <stdexcept>

struct Network::Inside {
  rknn_context context = 0;
  bool open = false;
  ~Inside() {
    if (open)
      rknn_destroy(context);
  }
};

Network::Network(const std::string &folder) : inside(new Inside) {
  std::ifstream file(folder + "/model.rknn", std::ios::binary);
  std::vector<char> content((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
  if (!file || content.empty())
    throw std::runtime_error("has no model.rknn");
  const int failed = rknn_init(&inside->context, content.data(),
                               static_cast<std::uint32_t>(content.size()), 0, nullptr);
  if (failed)
    throw std::runtime_error("has a network that the NPU does not take: " +
                             std::to_string(failed));
  inside->open = true;
}

Network::~Network() = default;

std::vector<float> Network::logits(const std::uint8_t *pixels) {
  const std::uint32_t crop = model::preprocess.crop;
  rknn_input given = {};
  given.buf = const_cast<std::uint8_t *>(pixels); // it only reads them
  given.size = model::batch * crop * crop * 3;
  given.type = RKNN_TENSOR_UINT8;
  given.fmt = RKNN_TENSOR_NHWC;
  std::vector<float> logits(model::batch * model::class_count);
  rknn_output found = {};
  found.want_float = 1;
  found.is_prealloc = 1;
  found.buf = logits.data();
  found.size = static_cast<std::uint32_t>(logits.size() * sizeof(float));
  int failed = rknn_inputs_set(inside->context, 1, &given);
  if (!failed)
    failed = rknn_run(inside->context, nullptr);
  if (!failed)
    failed = rknn_outputs_get(inside->context, 1, &found, nullptr);
  if (failed)
    throw std::runtime_error("cannot be computed by the NPU: " + std::to_string(failed));
  rknn_outputs_release(inside->context, 1, &found);
  return logits;
}
