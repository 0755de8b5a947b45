// The network in MNN, on the processor, computing with 32 bits.
#include "model.h"
#include "network.h"

#include <MNN/expr/Executor.hpp>
#include <MNN/expr/ExprCreator.hpp>
#include <MNN/expr/Module.hpp>

#include <stdexcept>

using namespace MNN::Express;

struct Network::Inside {
  MNN::BackendConfig backend;
  std::shared_ptr<Executor::RuntimeManager> runtime;
  std::shared_ptr<Module> module;
};

Network::Network(const std::string &folder) : inside(new Inside) {
  // Faster with Precision_Normal or Precision_Low, and the answers may be other ones.
  inside->backend.precision = MNN::BackendConfig::Precision_High;
  MNN::ScheduleConfig schedule;
  schedule.type = MNN_FORWARD_CPU;
  schedule.backendConfig = &inside->backend;
  inside->runtime.reset(Executor::RuntimeManager::createRuntimeManager(schedule),
                        Executor::RuntimeManager::destroy);
  inside->module.reset(Module::load(std::vector<std::string>{"pixels"},
                                    std::vector<std::string>{"logits"},
                                    (folder + "/model.mnn").c_str(), inside->runtime),
                       Module::destroy);
  if (!inside->module)
    throw std::runtime_error("has no network that MNN can load");
}

Network::~Network() = default;

std::vector<float> Network::logits(const std::uint8_t *pixels) {
  const int crop = model::preprocess.crop;
  // NCHW is what MNN calls every tensor whose axes are those of the ONNX graph.
  const VARP given =
      _Const(pixels, {model::batch, crop, crop, 3}, NCHW, halide_type_of<std::uint8_t>());
  const std::vector<VARP> found = inside->module->onForward({given});
  const float *first = found.empty() ? nullptr : found[0]->readMap<float>();
  if (first == nullptr)
    throw std::runtime_error("cannot be computed by MNN");
  return std::vector<float>(first, first + model::batch * model::class_count);
}
