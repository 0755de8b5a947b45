// The network in ExecuTorch, by XNNPACK.
#include "model.h"
#include "network.h"

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

#include <stdexcept>

struct Network::Inside {
  explicit Inside(const std::string &path) : module(path) {}
  executorch::extension::Module module;
};

Network::Network(const std::string &folder) : inside(new Inside(folder + "/model.pte")) {
  if (inside->module.load_forward() != executorch::runtime::Error::Ok)
    throw std::runtime_error("has no network that ExecuTorch can load");
}

Network::~Network() = default;

std::vector<float> Network::logits(const std::uint8_t *pixels) {
  const int crop = model::preprocess.crop;
  // It only reads them.
  const auto given = executorch::extension::from_blob(const_cast<std::uint8_t *>(pixels),
                                                      {model::batch, crop, crop, 3},
                                                      executorch::aten::ScalarType::Byte);
  const auto found = inside->module.forward(given);
  if (!found.ok())
    throw std::runtime_error("cannot be computed by ExecuTorch");
  const float *first = found->at(0).toTensor().const_data_ptr<float>();
  return std::vector<float>(first, first + model::batch * model::class_count);
}
