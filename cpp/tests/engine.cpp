#include "engines/engine.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "error.hpp"

using namespace fleetnet;

namespace {

const std::string kNetwork = std::string(FLEETNET_CONFORMANCE) + "/network.onnx";

/// Pixels by the formula of the bundle's self-test.
std::vector<std::uint8_t> made_up(std::uint32_t image, std::size_t size) {
    std::vector<std::uint8_t> pixels(size);
    for (std::uint32_t k = 0; k < size; ++k) {
        pixels[k] = static_cast<std::uint8_t>(((k + 1u + image * 1000003u) * 2654435761u) >> 24);
    }
    return pixels;
}

struct Opened {
    Bundle bundle = Bundle::load(kNetwork);
    std::size_t input = bundle.manifest().preprocess.input_bytes();
    std::size_t classes = bundle.manifest().classes.size();

    std::vector<float> logits(Engine& engine, std::uint32_t first, std::size_t count) const {
        std::vector<std::uint8_t> pixels;
        for (std::uint32_t i = 0; i < count; ++i) {
            const auto image = made_up(first + i, input);
            pixels.insert(pixels.end(), image.begin(), image.end());
        }
        std::vector<float> found(count * classes);
        engine.run(pixels.data(), count, found.data());
        return found;
    }
};

double difference(const std::vector<float>& a, const std::vector<float>& b) {
    double most = a.size() == b.size() ? 0 : 1e9;
    for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
        most = std::max<double>(most, std::abs(a[i] - b[i]));
    }
    return most;
}

std::string error_of(const std::string& name, const EngineSetup& setup) {
    try {
        open_engine(name, Opened().bundle, setup);
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("an engine answers batches of every size alike") {
    const Opened opened;
    const auto engine = open_engine("openvino", opened.bundle, {});
    std::vector<float> one_by_one;
    for (std::uint32_t i = 0; i < 7; ++i) {
        const auto found = opened.logits(*engine, i, 1);
        one_by_one.insert(one_by_one.end(), found.begin(), found.end());
    }
    // More sizes than stay compiled, and back to the first.
    for (const std::size_t size : {7, 2, 3, 4, 5, 6, 1, 7}) {
        const auto found = opened.logits(*engine, 0, size);
        CHECK(difference(found, {one_by_one.begin(), one_by_one.begin() + size * opened.classes}) <
              1e-5);
    }
}

TEST_CASE("threads that share an engine get their own answers") {
    const Opened opened;
    for (const bool throughput : {false, true}) {
        EngineSetup setup;
        setup.throughput = throughput;
        setup.threads = 2;
        const auto engine = open_engine("openvino", opened.bundle, setup);
        std::vector<std::vector<float>> wanted;
        for (std::uint32_t i = 0; i < 8; ++i)
            wanted.push_back(opened.logits(*engine, i, 1 + i % 3));
        std::atomic<int> wrong{0};
        std::vector<std::thread> threads;
        for (std::uint32_t i = 0; i < 8; ++i) {
            threads.emplace_back([&, i] {
                for (int turn = 0; turn < 50; ++turn) {
                    if (difference(opened.logits(*engine, i, 1 + i % 3), wanted[i]) > 1e-5) ++wrong;
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        CHECK(wrong == 0);
    }
}

TEST_CASE("what an engine does not offer is refused in Python's words") {
    EngineSetup setup;
    CHECK(error_of("openvin", setup).find("unknown engine 'openvin', did you mean 'openvino'?") ==
          0);
    setup.precision = "fp64";
    CHECK(error_of("openvino", setup) ==
          "unknown precision 'fp64', did you mean 'fp16'? (known: fp32, bf16, fp16, int8)");
    setup.precision = "int8";
    CHECK(error_of("openvino", setup)
              .find("openvino finds no int8 network in this bundle (fleetnet quantize makes one): "
                    "choose "
                    "fp32") == 0);
    setup.precision = "fp32";
    setup.threads = -1;
    CHECK(error_of("openvino", setup) == "threads is -1; it must be from 1 to 1024");
}
