#include "classifier.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "batches.hpp"
#include "error.hpp"
#include "probabilities.hpp"

using namespace fleetnet;

namespace {

const std::string kNetwork = std::string(FLEETNET_CONFORMANCE) + "/network.onnx";

Input filled(const Classifier& classifier, int level) {
    const std::size_t bytes = classifier.bundle().manifest().preprocess.input_bytes();
    return [bytes, level](std::uint8_t* out) {
        for (std::size_t i = 0; i < bytes; ++i) {
            out[i] = static_cast<std::uint8_t>(i * static_cast<std::size_t>(level));
        }
    };
}

}  // namespace

TEST_CASE("probabilities of large logits are finite, and sum up with softmax alone") {
    const auto shares = to_probabilities({1000, 999, -1000}, Activation::softmax, 1);
    CHECK(shares[0] == doctest::Approx(0.7310586));
    CHECK(shares[0] + shares[1] + shares[2] == doctest::Approx(1));
    const auto each = to_probabilities({1000, 0, -1000}, Activation::sigmoid, 1);
    CHECK(each == std::vector<float>{1, 0.5f, 0});
    CHECK(to_probabilities({2, 0}, Activation::softmax, 2)[0] == doctest::Approx(0.7310586));
}

TEST_CASE("batches give the answers of single images, and an unreadable one harms no other") {
    for (const bool throughput : {false, true}) {
        ClassifierOptions options;
        options.setup.throughput = throughput;
        options.setup.threads = 2;
        const Classifier classifier(Bundle::load(kNetwork), options);
        std::vector<Input> inputs;
        for (int i = 0; i < 11; ++i) inputs.push_back(filled(classifier, i));
        const auto single = answer_all(classifier, inputs, 1, 2);
        inputs[4] = [](std::uint8_t*) { throw Error(Code::image, "no image"); };
        const auto batched = answer_all(classifier, inputs, 4, 2);
        REQUIRE(batched.size() == 11);
        for (std::size_t i = 0; i < batched.size(); ++i) {
            if (i == 4) {
                CHECK(batched[i].error == "no image");
                CHECK(batched[i].top.empty());
                continue;
            }
            CHECK(batched[i].top.size() == 2);
            CHECK(batched[i].top[0].index == single[i].top[0].index);
            CHECK(std::abs(batched[i].logits[0] - single[i].logits[0]) < 1e-5);
        }
        inputs[7] = [](std::uint8_t*) { throw Error(Code::memory, "no memory"); };
        CHECK_THROWS_AS(answer_all(classifier, inputs, 4, 2), Error);
        CHECK(answer_all(classifier, {}, 4, 2).empty());
    }
}

TEST_CASE("what a classifier cannot do is said in Python's words") {
    ClassifierOptions options;
    options.labels = {"a", "b"};
    CHECK_THROWS_WITH(Classifier(Bundle::load(kNetwork), options),
                      "2 labels for a model of 4 classes");
    const Classifier classifier(Bundle::load(kNetwork), ClassifierOptions{});
    CHECK_THROWS_WITH(answer_all(classifier, {filled(classifier, 1)}, 1, 0),
                      "top_k is 0; it must be at least 1");
}
