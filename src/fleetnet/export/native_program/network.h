// A network whose files are in a folder.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

class Network {
public:
  explicit Network(const std::string &folder); // throws std::runtime_error
  ~Network();
  Network(const Network &) = delete;
  Network &operator=(const Network &) = delete;

  // Takes the pixels of model::batch images, RGB in rows, model::preprocess.crop wide and high;
  // returns model::class_count numbers for each of them. Throws std::runtime_error.
  std::vector<float> logits(const std::uint8_t *pixels);

private:
  struct Inside;
  std::unique_ptr<Inside> inside;
};
