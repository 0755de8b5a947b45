#include "answers.h"

#include "model.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

std::vector<std::uint8_t> input_of(const std::uint8_t *rgb, int width, int height) {
  const std::size_t crop = model::preprocess.crop;
  std::vector<std::uint8_t> pixels(model::batch * crop * crop * 3);
  const fleetnet_status status =
      fleetnet_make_input(&model::preprocess, rgb, width, height, nullptr, pixels.data());
  if (status == FLEETNET_TOO_LONG)
    throw std::runtime_error("has sides more than 1:100 apart");
  if (status != FLEETNET_OK)
    throw std::runtime_error("cannot be resized");
  return pixels;
}

std::vector<double> probabilities_of(const float *logits) {
  std::vector<double> values(logits, logits + model::class_count);
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
