// Names the most probable classes of each image: classify FOLDER IMAGE.ppm...
//
// FOLDER holds the network's files. An image is a binary PPM with a byte a colour, upright; djpeg of
// libjpeg-turbo makes one of a JPEG, ImageMagick one of everything.
#include "answers.h"
#include "model.h"
#include "network.h"

#include <algorithm>
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

void classify(Network &network, const char *path) {
  const Picture picture = read(path);
  const std::vector<std::uint8_t> pixels =
      input_of(picture.rgb.data(), picture.width, picture.height);
  const std::vector<double> found = probabilities_of(network.logits(pixels.data()).data());
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
