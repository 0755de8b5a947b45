#include "probabilities.hpp"

#include <algorithm>
#include <cmath>

namespace fleetnet {
namespace {

void softmax(std::vector<double>& numbers) {
    const double most = *std::max_element(numbers.begin(), numbers.end());
    double sum = 0;
    for (double& number : numbers) sum += number = std::exp(number - most);
    for (double& number : numbers) number /= sum;
}

/// 1 / (1 + exp(-x)) by way of its logarithm, which neither overflows nor loses small answers.
double sigmoid(double logit) {
    const double negated = -logit;
    const double logarithm =
        negated > 0 ? negated + std::log1p(std::exp(-negated)) : std::log1p(std::exp(negated));
    return std::exp(-logarithm);
}

}  // namespace

std::vector<float> to_probabilities(const std::vector<float>& logits, Activation activation,
                                    double temperature) {
    std::vector<double> numbers(logits.begin(), logits.end());
    for (double& number : numbers) number /= temperature;
    if (activation == Activation::softmax) {
        if (!numbers.empty()) softmax(numbers);
    } else {
        std::transform(numbers.begin(), numbers.end(), numbers.begin(), sigmoid);
    }
    return {numbers.begin(), numbers.end()};
}

}  // namespace fleetnet
