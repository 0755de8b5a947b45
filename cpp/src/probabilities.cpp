#include "probabilities.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

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

float certainty(const std::vector<float>& logits, Certainty score, double temperature) {
    const bool numbers =
        std::none_of(logits.begin(), logits.end(), [](float logit) { return std::isnan(logit); });
    if (logits.empty() || !numbers) return std::numeric_limits<float>::quiet_NaN();
    if (score == Certainty::probability) {
        const auto shares = to_probabilities(logits, Activation::softmax, temperature);
        if (std::isnan(shares.front())) return shares.front();
        return *std::max_element(shares.begin(), shares.end());
    }
    const double largest = *std::max_element(logits.begin(), logits.end());
    if (score == Certainty::max_logit) return static_cast<float>(largest);
    // Infinite logits have no exponentials to add up: the largest is what there is.
    const double base = std::isinf(largest) ? 0 : largest;
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - base);
    return static_cast<float>(base + std::log(sum));
}

bool is_rejected(float score, double threshold) {
    return std::isnan(score) || static_cast<double>(score) < threshold;
}

}  // namespace fleetnet
