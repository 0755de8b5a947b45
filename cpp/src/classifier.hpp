// Images in, classes out: a bundle made ready to answer on this machine, for any number of threads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.hpp"
#include "engines/engine.hpp"

namespace fleetnet {

struct Score {
    int index;
    double probability;
};

/// The answer for one image; `error` says why there is none.
struct Prediction {
    std::string source;
    std::vector<Score> top;
    std::optional<std::string> error;
    std::vector<float> logits;
    bool rejected = false;       ///< whether the answer does not count
    std::optional<float> score;  ///< how certain the network is; none where nothing is rejected
};

struct ClassifierOptions {
    std::string engine;  ///< empty: the first of engines()
    EngineSetup setup;
    bool exact = false;
    std::vector<std::string> labels;  ///< empty: the bundle's
    bool reject = true;               ///< by the bundle's threshold, if it has one
    std::optional<double> threshold;  ///< in place of the bundle's, which has to have one then
};

class Classifier {
   public:
    Classifier(Bundle bundle, ClassifierOptions options);

    /// Make a classifier of an engine that is open already.
    Classifier(Bundle bundle, std::unique_ptr<Engine> engine, bool exact = false);

    const Bundle& bundle() const { return bundle_; }
    const std::vector<std::string>& classes() const { return classes_; }
    Engine& engine() const { return *engine_; }
    bool exact() const { return exact_; }

    /// What is rejected; none where nothing is.
    const std::optional<Rejection>& rejection() const { return rejection_; }

    /// Answer inputs that are ready: count × crop × crop × 3 bytes. Thread-safe.
    std::vector<Prediction> answer(const std::uint8_t* inputs, std::size_t count, int top_k) const;

    /// Answer one encoded image. Thread-safe. Throws Error(Code::image).
    Prediction classify(Bytes file, int top_k) const;

   private:
    Bundle bundle_;
    std::vector<std::string> classes_;
    std::unique_ptr<Engine> engine_;
    bool exact_;
    std::optional<Rejection> rejection_;
};

}  // namespace fleetnet
