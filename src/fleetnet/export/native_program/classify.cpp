// Names the most probable classes of each image: classify FOLDER IMAGE.ppm...
//
// FOLDER holds the network's files. An image is a binary PPM with a byte a colour, upright; djpeg of
// libjpeg-turbo makes one of a JPEG, ImageMagick one of everything.
#include "model.h"
#include "network.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

const std::size_t shown = 5;
const long long most_pixels = 1LL << 28;

struct Picture {
  std::vector<std::uint8_t> rgb; // in rows
  int width = 0, height = 0;
};

// Reads a number of a PPM's head; from # to the end of a line is comment.
long long number(std::istream &file) {
  while (file >> std::ws && file.peek() == '#')
    file.ignore(1 << 20, '\n');
  long long value = -1;
  file >> value;
  return value;
}

Picture read(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw std::runtime_error("cannot be opened");
  char kind[2] = {};
  file.read(kind, 2);
  if (kind[0] != 'P' || kind[1] != '6')
    throw std::runtime_error("is no binary PPM (P6)");
  const long long width = number(file), height = number(file),
                  largest = number(file);
  if (!file || largest != 255)
    throw std::runtime_error("has not a byte a colour");
  if (width < 1 || height < 1 || width > most_pixels / height)
    throw std::runtime_error("has an odd size");
  Picture picture;
  picture.width = static_cast<int>(width);
  picture.height = static_cast<int>(height);
  picture.rgb.resize(static_cast<std::size_t>(3 * width * height));
  file.get(); // the one space before the pixels
  if (!file.read(reinterpret_cast<char *>(picture.rgb.data()),
                 static_cast<std::streamsize>(picture.rgb.size())))
    throw std::runtime_error("is cut off");
  return picture;
}

// Resizes and crops as the training's validation did, to the bit.
std::vector<std::uint8_t> input_of(const Picture &picture) {
  const std::size_t crop = model::preprocess.crop;
  std::vector<std::uint8_t> pixels(model::batch * crop * crop * 3); // what is beyond it is black
  const fleetnet_status status =
      fleetnet_make_input(&model::preprocess, picture.rgb.data(), picture.width, picture.height,
                          nullptr, pixels.data());
  if (status == FLEETNET_TOO_LONG)
    throw std::runtime_error("has sides more than 1:100 apart");
  if (status != FLEETNET_OK)
    throw std::runtime_error("cannot be resized");
  return pixels;
}

std::vector<double> probabilities_of(const std::vector<float> &logits) {
  std::vector<double> values(logits.begin(), logits.begin() + model::class_count);
  const double largest = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (double &value : values) {
    value = model::sigmoid ? 1 / (1 + std::exp(-value / model::temperature))
                           : std::exp((value - largest) / model::temperature);
    sum += value;
  }
  for (double &value : values)
    value /= model::sigmoid ? 1 : sum;
  return values;
}

void classify(Network &network, const char *path) {
  const std::vector<double> found = probabilities_of(network.logits(input_of(read(path)).data()));
  std::vector<std::size_t> order(found.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return found[a] > found[b]; });
  order.resize(std::min(order.size(), shown));
  for (const std::size_t index : order)
    std::printf("%s: %s %.6f\n", path, model::classes[index], found[index]);
}

} // namespace

int main(int count, char **arguments) {
  if (count < 3) {
    std::fprintf(stderr, "usage: %s FOLDER IMAGE.ppm...\n", arguments[0]);
    return 2;
  }
  const char *at = arguments[1];
  try {
    Network network(arguments[1]);
    for (int i = 2; i < count; ++i)
      classify(network, at = arguments[i]);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "error: %s %s\n", at, error.what());
    return 2;
  }
  return 0;
}
