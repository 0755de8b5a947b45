// What computes: uint8 pixels in, logits out. One file an engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bundle/bundle.hpp"

namespace fleetnet {

struct EngineSetup {
    std::string precision = "fp32";  ///< fp32, bf16, fp16, int8
    std::string device = "cpu";
    int threads = 0;          ///< 0: all available processors
    bool throughput = false;  ///< several batches at once instead of one as soon as can be
};

/// Any number of threads may call one engine at once, and each gets its own answer.
class Engine {
   public:
    virtual ~Engine() = default;

    virtual std::string name() const = 0;     ///< "openvino", "onnxruntime"
    virtual std::string version() const = 0;  ///< of the runtime
    virtual std::string precision() const = 0;
    virtual int threads() const = 0;
    /// How many calls of run() are computed at once.
    virtual int in_flight() const = 0;

    /// Map `count` inputs of crop × crop × 3 bytes to count × classes logits.
    ///
    /// Throws Error(Code::engine).
    virtual void run(const std::uint8_t* pixels, std::size_t count, float* logits) = 0;
};

struct EngineKind {
    std::string name;
    std::function<std::unique_ptr<Engine>(const Bundle&, const EngineSetup&)> open;
    std::function<std::string()> version;  ///< of the runtime; empty if it is not found
};

/// The engines of this build, the default first. Each engines/*.cpp adds one.
const std::vector<EngineKind>& engines();

/// Throws Error(Code::argument) for an unknown name, Error(Code::engine) if the runtime is absent.
std::unique_ptr<Engine> open_engine(const std::string& name, const Bundle&, const EngineSetup&);

}  // namespace fleetnet
