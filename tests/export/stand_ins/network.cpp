// A network of the tests: it leaves the pixels in its folder, and its logits are means of them.
#include "model.h"
#include "network.h"

#include <fstream>

struct Network::Inside {
  std::string folder;
};

Network::Network(const std::string &folder) : inside(new Inside{folder}) {}

Network::~Network() = default;

std::vector<float> Network::logits(const std::uint8_t *pixels) {
  const int size = model::batch * model::preprocess.crop * model::preprocess.crop * 3;
  std::ofstream(inside->folder + "/pixels", std::ios::binary)
      .write(reinterpret_cast<const char *>(pixels), size);
  std::vector<float> found(model::batch * model::class_count);
  for (int i = 0; i < size; ++i)
    found[i % model::class_count] += pixels[i] / 1024.0F;
  for (float &value : found)
    value /= 64;
  return found;
}
