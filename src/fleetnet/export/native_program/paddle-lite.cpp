// The network in Paddle Lite, on the processor, of the file that was optimised for its kind.
#include "model.h"
#include "network.h"

#include <paddle_api.h>

#include <fstream>
#include <stdexcept>

using namespace paddle::lite_api;

namespace {

#if defined(__arm__) || defined(__aarch64__)
const char *const name = "/model.arm.nb";
#else
const char *const name = "/model.x86.nb";
#endif

} // namespace

struct Network::Inside {
  std::shared_ptr<PaddlePredictor> predictor;
};

Network::Network(const std::string &folder) : inside(new Inside) {
  const std::string path = folder + name;
  if (!std::ifstream(path))
    throw std::runtime_error("has no network for this kind of processor");
  MobileConfig settings;
  settings.set_model_from_file(path);
  settings.set_threads(1);
  inside->predictor = CreatePaddlePredictor<MobileConfig>(settings);
  if (!inside->predictor)
    throw std::runtime_error("has no network that Paddle Lite can load");
}

Network::~Network() = default;

std::vector<float> Network::logits(const std::uint8_t *pixels) {
  const int crop = model::preprocess.crop, area = crop * crop;
  const std::unique_ptr<Tensor> given = inside->predictor->GetInput(0);
  given->Resize({model::batch, 3, crop, crop});
  float *planes = given->mutable_data<float>();
  for (int image = 0; image < model::batch; ++image, pixels += 3 * area)
    for (int colour = 0; colour < 3; ++colour)
      for (int pixel = 0; pixel < area; ++pixel)
        *planes++ = pixels[3 * pixel + colour];
  inside->predictor->Run();
  const std::unique_ptr<const Tensor> found = inside->predictor->GetOutput(0);
  const float *first = found->data<float>();
  return std::vector<float>(first, first + model::batch * model::class_count);
}
