// The network in ncnn, on the processor, computing with 32 bits.
#include "model.h"
#include "network.h"

#include <net.h>

#include <stdexcept>

struct Network::Inside {
  ncnn::Net network;
};

Network::Network(const std::string &folder) : inside(new Inside) {
  ncnn::Option &option = inside->network.opt;
  option.use_vulkan_compute = false;
  // Faster where they are true, and the answers are other ones.
  option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = false;
  option.use_bf16_storage = false;
  if (inside->network.load_param((folder + "/model.ncnn.param").c_str()) != 0 ||
      inside->network.load_model((folder + "/model.ncnn.bin").c_str()) != 0)
    throw std::runtime_error("has no network that ncnn can load");
}

Network::~Network() = default;

std::vector<float> Network::logits(const std::uint8_t *pixels) {
  const int crop = model::preprocess.crop;
  ncnn::Extractor extractor = inside->network.create_extractor();
  ncnn::Mat found;
  if (extractor.input("in0", ncnn::Mat::from_pixels(pixels, ncnn::Mat::PIXEL_RGB, crop, crop)) != 0 ||
      extractor.extract("out0", found) != 0 || found.w != model::class_count)
    throw std::runtime_error("cannot be computed by ncnn");
  const float *first = found;
  return std::vector<float>(first, first + model::class_count);
}
