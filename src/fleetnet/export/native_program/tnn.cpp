// The network in TNN, of the files that its converter makes of model.onnx.
#include "model.h"
#include "network.h"

#include <tnn/core/tnn.h>

#include <fstream>
#include <iterator>
#include <stdexcept>

namespace {

#if defined(__arm__) || defined(__aarch64__)
const TNN_NS::DeviceType device = TNN_NS::DEVICE_ARM;
#else
const TNN_NS::DeviceType device = TNN_NS::DEVICE_NAIVE;
#endif

// Of a network that the converter optimised, the names have a part more.
std::string content(const std::string &folder, const std::string &ending) {
  std::ifstream file(folder + "/model.opt" + ending, std::ios::binary);
  if (!file)
    file.open(folder + "/model" + ending, std::ios::binary);
  if (!file)
    throw std::runtime_error("has no model" + ending + " of TNN's converter");
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

} // namespace

struct Network::Inside {
  TNN_NS::TNN network;
  std::shared_ptr<TNN_NS::Instance> instance;
};

Network::Network(const std::string &folder) : inside(new Inside) {
  TNN_NS::ModelConfig files;
  files.params = {content(folder, ".tnnproto"), content(folder, ".tnnmodel")};
  TNN_NS::NetworkConfig settings; // computes with 32 bits unless told otherwise
  settings.device_type = device;
  TNN_NS::Status status = inside->network.Init(files);
  if (status == TNN_NS::TNN_OK)
    inside->instance = inside->network.CreateInst(settings, status);
  if (status != TNN_NS::TNN_OK || !inside->instance)
    throw std::runtime_error("has no network that TNN can load");
}

Network::~Network() = default;

std::vector<float> Network::logits(const std::uint8_t *pixels) {
  const int crop = model::preprocess.crop;
  // It only reads them, and makes planes of numbers of them: a scale of 1 and a bias of 0.
  const auto given = std::make_shared<TNN_NS::Mat>(
      device, TNN_NS::N8UC3, TNN_NS::DimsVector{model::batch, 3, crop, crop},
      const_cast<std::uint8_t *>(pixels));
  std::shared_ptr<TNN_NS::Mat> found;
  TNN_NS::Status status = inside->instance->SetInputMat(given, TNN_NS::MatConvertParam());
  if (status == TNN_NS::TNN_OK)
    status = inside->instance->Forward();
  if (status == TNN_NS::TNN_OK)
    status = inside->instance->GetOutputMat(found, TNN_NS::MatConvertParam(), "", device);
  if (status != TNN_NS::TNN_OK || !found)
    throw std::runtime_error("cannot be computed by TNN");
  const float *first = static_cast<const float *>(found->GetData());
  return std::vector<float>(first, first + model::batch * model::class_count);
}
