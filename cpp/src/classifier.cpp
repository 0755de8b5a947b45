#include "classifier.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "bundle/replacement.hpp"
#include "error.hpp"
#include "probabilities.hpp"
#include "words.hpp"

namespace fleetnet {
namespace {

std::vector<std::string> classes_of(const Bundle& bundle, std::vector<std::string> labels) {
    const std::size_t known = bundle.manifest().classes.size();
    if (labels.empty()) return bundle.manifest().classes;
    if (labels.size() != known) {
        throw Error(Code::argument,
                    count(labels.size(), "label") + " for a model of " + count(known, "class"));
    }
    return labels;
}

/// The places of the `top_k` largest numbers, the largest first; of equal ones the first.
std::vector<int> largest(const std::vector<float>& numbers, std::size_t top_k) {
    std::vector<int> places(numbers.size());
    std::iota(places.begin(), places.end(), 0);
    const auto before = [&](int a, int b) {
        const float left = numbers[static_cast<std::size_t>(a)];
        const float right = numbers[static_cast<std::size_t>(b)];
        if (std::isnan(left) != std::isnan(right)) return std::isnan(right);
        return left > right || (!(right > left) && a < b);
    };
    const std::size_t kept = std::min(top_k, places.size());
    std::partial_sort(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(kept),
                      places.end(), before);
    places.resize(kept);
    return places;
}

/// What is to be rejected. Throws Error(Code::argument).
std::optional<Rejection> rejection_of(const Bundle& bundle, const ClassifierOptions& options) {
    const Manifest& manifest = bundle.manifest();
    if (!options.threshold) return options.reject ? manifest.rejection : std::nullopt;
    if (manifest.activation != Activation::softmax) {
        throw Error(Code::argument, bundle.path() +
                                        " gives an image any number of classes, none included: no "
                                        "threshold rejects its answers");
    }
    if (!manifest.rejection) {
        char number[32];
        std::snprintf(number, sizeof number, "%g", *options.threshold);
        throw Error(Code::argument, bundle.path() +
                                        " has no rejection, so that nothing says what " + number +
                                        " is a threshold of: 'fleetnet reject' adds one");
    }
    Rejection found = *manifest.rejection;
    found.threshold = *options.threshold;
    return found;
}

}  // namespace

Classifier::Classifier(Bundle bundle, ClassifierOptions options)
    : bundle_(std::move(bundle)), exact_(options.exact) {
    while_replaced(bundle_, [&](const Bundle& there) {
        rejection_ = rejection_of(there, options);
        classes_ = classes_of(there, options.labels);
        engine_ = open_engine(options.engine, there, options.setup);
    });
    bundle_.forget();
}

Classifier::Classifier(Bundle bundle, std::unique_ptr<Engine> engine, bool exact)
    : bundle_(std::move(bundle)),
      classes_(bundle_.manifest().classes),
      engine_(std::move(engine)),
      exact_(exact),
      rejection_(bundle_.manifest().rejection) {
    bundle_.forget();
}

std::vector<Prediction> Classifier::answer(const std::uint8_t* inputs, std::size_t count,
                                           int top_k) const {
    if (top_k < 1) {
        throw Error(Code::argument,
                    "top_k is " + std::to_string(top_k) + "; it must be at least 1");
    }
    check_process();
    const Manifest& manifest = bundle_.manifest();
    const std::size_t classes = classes_.size();
    std::vector<float> logits(count * classes);
    engine_->run(inputs, count, logits.data());
    std::vector<Prediction> answers(count);
    for (std::size_t i = 0; i < count; ++i) {
        Prediction& answer = answers[i];
        const auto row = logits.begin() + static_cast<std::ptrdiff_t>(i * classes);
        answer.logits.assign(row, row + static_cast<std::ptrdiff_t>(classes));
        const std::vector<float> shares =
            to_probabilities(answer.logits, manifest.activation, manifest.temperature);
        for (const int place : largest(answer.logits, static_cast<std::size_t>(top_k))) {
            answer.top.push_back({place, shares[static_cast<std::size_t>(place)]});
        }
        if (const auto rejects = rejection()) {
            answer.score = certainty(answer.logits, rejects->score, manifest.temperature);
            answer.rejected = is_rejected(*answer.score, rejects->threshold);
        }
    }
    return answers;
}

Prediction Classifier::classify(Bytes file, int top_k) const {
    const Preprocess& preprocess = bundle_.manifest().preprocess;
    std::vector<std::uint8_t> input(preprocess.input_bytes());
    preprocess.input_of(file, exact_, input.data());
    return std::move(answer(input.data(), 1, top_k).front());
}

}  // namespace fleetnet
