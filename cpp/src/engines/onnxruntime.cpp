// ONNX Runtime, for machines without OpenVINO: on the processor.
//
// Its library is opened when the engine is asked for, so that nothing has to be there otherwise.
#if defined(_WIN32) && !defined(_MSC_VER)
// What its header takes for granted on Windows and only Microsoft's compiler has.
#define _Return_type_success_(condition)
#ifndef _stdcall
#define _stdcall __stdcall
#endif
#endif
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "engines/engine.hpp"
#include "engines/fitting.hpp"
#include "error.hpp"
#include "files.hpp"
#include "words.hpp"

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace fleetnet {
namespace {

/// The version of the interface that has all that is called here: ONNX Runtime 1.14 and later.
constexpr std::uint32_t kInterface = 14;
constexpr const char* kVariable = "FLEETNET_ONNXRUNTIME";

#ifdef _WIN32
const std::vector<std::string> kNames = {"onnxruntime.dll"};
#elif defined(__APPLE__)
const std::vector<std::string> kNames = {"libonnxruntime.dylib"};
#else
const std::vector<std::string> kNames = {"libonnxruntime.so.1", "libonnxruntime.so"};
#endif

using Base = const OrtApiBase*(ORT_API_CALL*)();

/// Open a library for ever and return the function by which ONNX Runtime begins.
Base base_of(const std::string& file) {
#ifdef _WIN32
    const HMODULE library = LoadLibraryW(path_of(file).c_str());
    if (!library) return nullptr;
    return reinterpret_cast<Base>(
        reinterpret_cast<void*>(GetProcAddress(library, "OrtGetApiBase")));
#else
    void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    return library ? reinterpret_cast<Base>(dlsym(library, "OrtGetApiBase")) : nullptr;
#endif
}

const OrtApiBase& base() {
    static const OrtApiBase* const found = [] {
        const char* chosen = std::getenv(kVariable);
        const std::vector<std::string> files =
            chosen && *chosen ? std::vector<std::string>{chosen} : kNames;
        for (const std::string& file : files) {
            if (const Base open = base_of(file)) return open();
        }
        if (chosen && *chosen) {
            throw Error(Code::engine, std::string(kVariable) +
                                          " names no ONNX Runtime that can be loaded: " + chosen);
        }
        throw Error(Code::engine,
                    "the engine 'onnxruntime' needs ONNX Runtime, which was not found: put " +
                        kNames.back() + " where the system looks for libraries, or its path into " +
                        kVariable);
    }();
    return *found;
}

const OrtApi& api() {
    static const OrtApi* const found = [] {
        const OrtApi* offered = base().GetApi(kInterface);
        if (!offered) {
            throw Error(Code::engine, std::string("ONNX Runtime ") + base().GetVersionString() +
                                          " is too old: from 1.14 on it will do");
        }
        return offered;
    }();
    return *found;
}

/// What ONNX Runtime said, in one line.
struct Refused {
    std::string reason;
};

void check(OrtStatus* status) {
    if (!status) return;
    const std::string reason = one_line(api().GetErrorMessage(status));
    api().ReleaseStatus(status);
    throw Refused{reason};
}

struct Release {
    void operator()(OrtSession* session) const { api().ReleaseSession(session); }
    void operator()(OrtSessionOptions* options) const { api().ReleaseSessionOptions(options); }
    void operator()(OrtValue* value) const { api().ReleaseValue(value); }
    void operator()(OrtTypeInfo* info) const { api().ReleaseTypeInfo(info); }
    void operator()(OrtTensorTypeAndShapeInfo* info) const {
        api().ReleaseTensorTypeAndShapeInfo(info);
    }
};
template <typename Thing>
using Owned = std::unique_ptr<Thing, Release>;

/// The process's one environment, which is never freed: threads may still use it at the end.
OrtEnv* environment() {
    static OrtEnv* const made = [] {
        OrtEnv* env = nullptr;
        // Errors come back as codes: the runtime's own lines would be said beside ours.
        check(api().CreateEnv(ORT_LOGGING_LEVEL_FATAL, "fleetnet", &env));
        check(api().DisableTelemetryEvents(env));
        return env;
    }();
    return made;
}

/// Where tensors in ordinary memory are.
const OrtMemoryInfo* memory() {
    static OrtMemoryInfo* const made = [] {
        OrtMemoryInfo* info = nullptr;
        check(api().CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &info));
        return info;
    }();
    return made;
}

/// Lets so many calls go on at once; the others wait for their turn.
class Turns {
   public:
    explicit Turns(int free) : free_(free) {}

    class Turn {
       public:
        explicit Turn(Turns& turns) : turns_(turns) {
            std::unique_lock<std::mutex> lock(turns_.mutex_);
            turns_.freed_.wait(lock, [&] { return turns_.free_ > 0; });
            --turns_.free_;
        }
        ~Turn() {
            const std::lock_guard<std::mutex> lock(turns_.mutex_);
            ++turns_.free_;
            turns_.freed_.notify_one();
        }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

       private:
        Turns& turns_;
    };

   private:
    std::mutex mutex_;
    std::condition_variable freed_;
    int free_;
};

Sides sides_of(const OrtTypeInfo* type) {
    const OrtTensorTypeAndShapeInfo* tensor = nullptr;
    check(api().CastTypeInfoToTensorInfo(type, &tensor));
    if (!tensor) return {};
    std::size_t rank = 0;
    check(api().GetDimensionsCount(tensor, &rank));
    std::vector<std::int64_t> found(rank);
    check(api().GetDimensions(tensor, found.data(), rank));
    Sides sides;
    for (const std::int64_t side : found) {
        sides.push_back(side < 0 ? std::nullopt : std::optional(side));
    }
    return sides;
}

/// A name that ONNX Runtime gives, which has to be freed by it.
std::string taken(char* name) {
    OrtAllocator* allocator = nullptr;
    check(api().GetAllocatorWithDefaultOptions(&allocator));
    std::string text = name;
    check(api().AllocatorFree(allocator, name));
    return text;
}

int streams_of(const EngineSetup& setup) { return setup.throughput ? setup.threads : 1; }

Owned<OrtSession> session_of(const std::vector<std::uint8_t>& onnx, const EngineSetup& setup) {
    OrtSessionOptions* made = nullptr;
    check(api().CreateSessionOptions(&made));
    const Owned<OrtSessionOptions> options(made);
    // In throughput mode each batch is computed by one thread, several at a time.
    check(api().SetIntraOpNumThreads(made, std::max(1, setup.threads / streams_of(setup))));
    check(api().SetInterOpNumThreads(made, 1));
    check(api().SetSessionLogSeverityLevel(made, ORT_LOGGING_LEVEL_FATAL));
    OrtSession* session = nullptr;
    check(api().CreateSessionFromArray(environment(), onnx.data(), onnx.size(), made, &session));
    return Owned<OrtSession>(session);
}

class OnnxRuntimeEngine : public Engine {
   public:
    OnnxRuntimeEngine(const Bundle& bundle, const std::string& path, Owned<OrtSession> session,
                      const EngineSetup& setup)
        : setup_(setup),
          side_(bundle.manifest().preprocess.crop),
          classes_(bundle.manifest().classes.size()),
          session_(std::move(session)),
          turns_(streams_of(setup)) {
        std::size_t inputs = 0;
        check(api().SessionGetInputCount(session_.get(), &inputs));
        OrtAllocator* allocator = nullptr;
        check(api().GetAllocatorWithDefaultOptions(&allocator));
        char* name = nullptr;
        check(api().SessionGetInputName(session_.get(), 0, allocator, &name));
        input_ = taken(name);
        OrtTypeInfo* type = nullptr;
        check(api().SessionGetInputTypeInfo(session_.get(), 0, &type));
        const Owned<OrtTypeInfo> input(type);
        Sides sides = sides_of(type);
        if (!sides.empty()) sides.erase(sides.begin());
        const auto logits = logits_of(allocator);
        check_graph(bundle, path, inputs, sides, logits.has_value());
        if (!logits->empty() && logits->back()) check_answers(bundle, *logits->back());
    }

    std::string name() const override { return "onnxruntime"; }
    std::string version() const override { return base().GetVersionString(); }
    std::string precision() const override { return setup_.precision; }
    int threads() const override { return setup_.threads; }
    int in_flight() const override { return streams_of(setup_); }

    void run(const std::uint8_t* pixels, std::size_t count, float* logits) override {
        if (count == 0) return;
        try {
            compute(pixels, count, logits);
        } catch (const Refused& refused) {
            throw Error(Code::engine, "onnxruntime cannot compute this network in " +
                                          setup_.precision + " on the device " + setup_.device +
                                          ": " + refused.reason);
        }
    }

   private:
    EngineSetup setup_;
    std::int64_t side_;
    std::size_t classes_;
    std::string input_;
    Owned<OrtSession> session_;
    // Each call needs memory for activations, and processors beyond the threads asked for.
    Turns turns_;

    /// The shape of the output `logits`, if there is one.
    std::optional<Sides> logits_of(OrtAllocator* allocator) const {
        std::size_t outputs = 0;
        check(api().SessionGetOutputCount(session_.get(), &outputs));
        for (std::size_t i = 0; i < outputs; ++i) {
            char* name = nullptr;
            check(api().SessionGetOutputName(session_.get(), i, allocator, &name));
            if (taken(name) != "logits") continue;
            OrtTypeInfo* type = nullptr;
            check(api().SessionGetOutputTypeInfo(session_.get(), i, &type));
            const Owned<OrtTypeInfo> output(type);
            return sides_of(type);
        }
        return std::nullopt;
    }

    void compute(const std::uint8_t* pixels, std::size_t count, float* logits) {
        const std::int64_t sides[] = {static_cast<std::int64_t>(count), side_, side_, 3};
        const std::size_t bytes = count * static_cast<std::size_t>(side_ * side_ * 3);
        OrtValue* made = nullptr;
        check(api().CreateTensorWithDataAsOrtValue(memory(), const_cast<std::uint8_t*>(pixels),
                                                   bytes, sides, 4,
                                                   ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, &made));
        const Owned<OrtValue> input(made);
        const char* const inputs[] = {input_.c_str()};
        const char* const outputs[] = {"logits"};
        OrtValue* found = nullptr;
        {
            const Turns::Turn turn(turns_);
            check(api().Run(session_.get(), nullptr, inputs, &made, 1, outputs, 1, &found));
        }
        const Owned<OrtValue> answers(found);
        copy(found, count, logits);
    }

    void copy(OrtValue* answers, std::size_t count, float* logits) const {
        OrtTensorTypeAndShapeInfo* made = nullptr;
        check(api().GetTensorTypeAndShape(answers, &made));
        const Owned<OrtTensorTypeAndShapeInfo> info(made);
        ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        std::size_t elements = 0;
        check(api().GetTensorElementType(made, &type));
        check(api().GetTensorShapeElementCount(made, &elements));
        if (type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || elements != count * classes_) {
            throw Refused{"its logits are not one number for each class"};
        }
        void* data = nullptr;
        check(api().GetTensorMutableData(answers, &data));
        std::memcpy(logits, data, elements * sizeof(float));
    }
};

std::unique_ptr<Engine> open(const Bundle& bundle, const EngineSetup& setup) {
    api();
    const std::vector<Content> contents = bundle.contents("onnx", setup.precision);
    if (contents.size() != 1) {
        throw Error(Code::bundle, bundle.path() + " has " + named("onnx", setup.precision) +
                                      " in " + std::to_string(contents.size()) +
                                      " files instead of one");
    }
    const std::string path = bundle.file_path(*bundle.find("onnx", setup.precision));
    try {
        return std::make_unique<OnnxRuntimeEngine>(bundle, path,
                                                   session_of(*contents.front(), setup), setup);
    } catch (const Refused& refused) {
        throw Error(Code::bundle, "ONNX Runtime cannot read " + path + ": " + refused.reason);
    }
}

}  // namespace

EngineKind onnxruntime_engine() {
    return {"onnxruntime",
            {{"fp32", "onnx"}, {"int8", "onnx", "int8"}},
            [] { return std::vector<std::string>{"cpu"}; },
            [](const std::string&) {
                return std::vector<std::string>{"fp32", "int8"};
            },
            open,
            [] {
                try {
                    return std::string(base().GetVersionString());
                } catch (const Error&) {
                    return std::string();
                }
            }};
}

}  // namespace fleetnet
