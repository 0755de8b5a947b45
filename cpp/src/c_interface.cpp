// The C interface: handles instead of objects, codes instead of exceptions.
#include <algorithm>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>
#include <new>
#include <shared_mutex>
#include <stdexcept>

#include "batches.hpp"
#include "error.hpp"
#include "fleetnet.h"
#include "images/image.hpp"

using fleetnet::Bytes;
using fleetnet::Code;
using fleetnet::Error;

struct fleetnet_classifier {
    fleetnet::Classifier classifier;
    std::size_t batch_size;
    std::string engine_name;
    std::string engine_version;
    std::string precision;
    /// Every call holds it shared; closing waits until it has it alone.
    mutable std::shared_mutex in_use;

    fleetnet_classifier(fleetnet::Bundle bundle, fleetnet::ClassifierOptions options,
                        std::size_t batch)
        : classifier(std::move(bundle), std::move(options)),
          batch_size(batch),
          engine_name(classifier.engine().name()),
          engine_version(classifier.engine().version()),
          precision(classifier.engine().precision()) {}
};

struct fleetnet_answers {
    std::vector<fleetnet::Prediction> predictions;
    std::vector<std::vector<fleetnet_score>> scores;
};

namespace {

constexpr int kMaxBatch = 4096;
/// More than any version's options will have: a larger size is one that was never set.
constexpr std::size_t kMaxOptions = 4096;
/// A batch that fits the processor's cache in fewer bits than fp32.
constexpr int kLowPrecisionBatch = 4;

/// Not a std::string: a thread may end after the library's own objects.
thread_local char last_error[4096] = "";

void remember(const char* message) noexcept {
    std::size_t size = std::strlen(message);
    if (size >= sizeof last_error) {
        size = sizeof last_error - 1;
        // No character of UTF-8 is cut in two.
        while (size > 0 && (static_cast<unsigned char>(message[size]) & 0xC0) == 0x80) --size;
    }
    for (std::size_t place = 0; place < size; ++place) {
        // A path or a name in the message may have line ends: what is said is one line.
        const auto sign = static_cast<unsigned char>(message[place]);
        last_error[place] = (sign < 0x20 && sign != '\t') || sign == 0x7F ? ' ' : message[place];
    }
    last_error[size] = '\0';
}

std::int32_t code_of(Code code) noexcept {
    switch (code) {
        case Code::argument:
            return FLEETNET_ERROR_ARGUMENT;
        case Code::bundle:
            return FLEETNET_ERROR_BUNDLE;
        case Code::image:
            return FLEETNET_ERROR_IMAGE;
        case Code::data:
            return FLEETNET_ERROR_DATA;
        case Code::engine:
            return FLEETNET_ERROR_ENGINE;
        case Code::memory:
            return FLEETNET_ERROR_MEMORY;
    }
    return FLEETNET_ERROR_INTERNAL;
}

/// Do something, and make a code and a message of what it throws.
template <typename Work>
std::int32_t guarded(const Work& work) noexcept {
    try {
        work();
        return FLEETNET_SUCCESS;
    } catch (const Error& error) {
        remember(error.what());
        return code_of(error.code());
    } catch (const std::bad_alloc&) {
        remember("there is not enough memory");
        return FLEETNET_ERROR_MEMORY;
    } catch (const std::length_error&) {
        remember("there is not enough memory");
        return FLEETNET_ERROR_MEMORY;
    } catch (const std::exception& error) {
        remember(error.what());
    } catch (...) {
        remember("an unknown error");
    }
    return FLEETNET_ERROR_INTERNAL;
}

[[noreturn]] void refuse(const std::string& message) { throw Error(Code::argument, message); }

template <typename Thing>
void check_given(const Thing* thing, const char* name) {
    if (!thing) refuse(std::string(name) + " is NULL");
}

int checked_top_k(std::size_t top_k) {
    if (top_k < 1) refuse("top_k is 0; it must be at least 1");
    constexpr auto most = static_cast<std::size_t>(std::numeric_limits<int>::max());
    return static_cast<int>(std::min(top_k, most));
}

/// The fields that the caller's header has; those that it does not have are 0.
fleetnet_options completed(const fleetnet_options* given) {
    fleetnet_options options{};
    if (!given) return options;
    // The first version's structure, which ended before `reject`, is the smallest there is.
    constexpr std::size_t least = offsetof(fleetnet_options, reject);
    if (given->size < least || given->size > kMaxOptions) {
        refuse("options.size is " + std::to_string(given->size) +
               "; it must be sizeof(fleetnet_options)");
    }
    std::memcpy(&options, given, std::min(given->size, sizeof options));
    // A program of a newer header may run here as long as it asks for nothing new.
    const auto* bytes = reinterpret_cast<const unsigned char*>(given);
    const std::size_t known = std::min(given->size, sizeof options);
    if (std::any_of(bytes + known, bytes + given->size, [](auto byte) { return byte; })) {
        refuse("options has a field that this version of the library does not know");
    }
    return options;
}

std::string text_or(const char* text, const char* otherwise) { return text ? text : otherwise; }

fleetnet::ClassifierOptions options_of(const fleetnet_options& given) {
    fleetnet::ClassifierOptions options;
    options.engine = text_or(given.engine, "");
    options.setup.precision = text_or(given.precision, "fp32");
    options.setup.device = text_or(given.device, "cpu");
    options.setup.threads = given.threads;
    options.setup.throughput = given.throughput != 0;
    options.exact = given.exact != 0;
    if (given.reject < 0 || given.reject > 2) {
        refuse("options.reject is " + std::to_string(given.reject) + "; it must be 0, 1 or 2");
    }
    options.reject = given.reject != 2;
    if (given.label_count > 0) check_given(given.labels, "options.labels");
    for (std::size_t i = 0; given.labels && i < given.label_count; ++i) {
        check_given(given.labels[i], "one of options.labels");
        options.labels.emplace_back(given.labels[i]);
    }
    if (given.labels && given.label_count == 0) refuse("options.label_count is 0");
    return options;
}

std::size_t batch_size_of(const fleetnet_options& given, const fleetnet::EngineSetup& setup) {
    const int usual = setup.throughput && setup.precision != "fp32" ? kLowPrecisionBatch : 1;
    const int size = given.batch_size == 0 ? usual : given.batch_size;
    if (size < 1 || size > kMaxBatch) {
        refuse("batch size is " + std::to_string(size) + "; it must be from 1 to 4096");
    }
    return static_cast<std::size_t>(size);
}

void check_pixels(const std::uint8_t* rgb, std::int32_t width, std::int32_t height) {
    check_given(rgb, "rgb");
    if (width < 1 || height < 1) {
        refuse("the picture has " + std::to_string(width) + "×" + std::to_string(height) +
               " pixels; both must be at least 1");
    }
}

/// What makes an image of a batch ready. The arguments are checked here, before any work.
fleetnet::Input input_of(const fleetnet::Classifier& classifier, const fleetnet_image& image) {
    const fleetnet::Preprocess& preprocess = classifier.bundle().manifest().preprocess;
    const bool exact = classifier.exact();
    if ((image.path != nullptr) == (image.data != nullptr)) {
        refuse("an image must have either path or data");
    }
    if (image.path) {
        return [&preprocess, exact, path = std::string(image.path)](std::uint8_t* out) {
            preprocess.input_of(fleetnet::read_image_file(path), exact, out);
        };
    }
    if (image.width == 0 && image.height == 0) {
        return [&preprocess, exact, image](std::uint8_t* out) {
            preprocess.input_of(Bytes(image.data, image.size), exact, out);
        };
    }
    check_pixels(image.data, image.width, image.height);
    const std::uint64_t needed =
        3 * static_cast<std::uint64_t>(image.width) * static_cast<std::uint64_t>(image.height);
    if (image.size != needed) {
        refuse("size is " + std::to_string(image.size) + "; it must be " + std::to_string(needed) +
               " for " + std::to_string(image.width) + "×" + std::to_string(image.height) +
               " pixels");
    }
    return [&preprocess, image](std::uint8_t* out) {
        preprocess.input_of(image.data, image.width, image.height, out);
    };
}

std::vector<fleetnet_score> scores_of(const fleetnet::Prediction& prediction) {
    std::vector<fleetnet_score> scores;
    for (const fleetnet::Score& score : prediction.top) {
        scores.push_back({score.index, static_cast<float>(score.probability)});
    }
    return scores;
}

/// Answer the one image that `input` makes ready.
std::int32_t classify(
    const fleetnet_classifier* handle, std::size_t top_k, fleetnet_score* scores,
    std::size_t* found,
    const std::function<void(const fleetnet::Preprocess&, std::uint8_t*)>& input) {
    if (found) *found = 0;
    return guarded([&] {
        check_given(handle, "classifier");
        check_given(scores, "scores");
        const int most = checked_top_k(top_k);
        const std::shared_lock<std::shared_mutex> lock(handle->in_use);
        const fleetnet::Preprocess& preprocess = handle->classifier.bundle().manifest().preprocess;
        std::vector<std::uint8_t> pixels(preprocess.input_bytes());
        input(preprocess, pixels.data());
        const auto answers = handle->classifier.answer(pixels.data(), 1, most);
        const std::vector<fleetnet_score> best = scores_of(answers.front());
        std::copy(best.begin(), best.end(), scores);
        if (found) *found = answers.front().rejected ? 0 : best.size();
    });
}

const fleetnet::Prediction* prediction_of(const fleetnet_answers* answers, std::size_t image) {
    if (!answers || image >= answers->predictions.size()) return nullptr;
    return &answers->predictions[image];
}

}  // namespace

extern "C" {

std::int32_t fleetnet_abi_version(void) { return FLEETNET_ABI_VERSION; }

const char* fleetnet_version(void) { return FLEETNET_VERSION; }

const char* fleetnet_last_error(void) { return last_error; }

std::int32_t fleetnet_open(const char* bundle, const fleetnet_options* given,
                           fleetnet_classifier** classifier) {
    if (classifier) *classifier = nullptr;
    return guarded([&] {
        check_given(classifier, "classifier");
        check_given(bundle, "bundle");
        const fleetnet_options options = completed(given);
        fleetnet::ClassifierOptions chosen = options_of(options);
        const std::size_t batch_size = batch_size_of(options, chosen.setup);
        auto opened = std::make_unique<fleetnet_classifier>(fleetnet::Bundle::load(bundle),
                                                            std::move(chosen), batch_size);
        if (options.reject == 0 && opened->classifier.rejection()) {
            refuse(std::string(bundle) +
                   " rejects answers that are not certain enough: say with options.reject whether "
                   "this program does");
        }
        *classifier = opened.release();
    });
}

void fleetnet_close(fleetnet_classifier* classifier) {
    if (!classifier) return;
    guarded([&] { const std::unique_lock<std::shared_mutex> lock(classifier->in_use); });
    guarded([&] { delete classifier; });
}

std::size_t fleetnet_class_count(const fleetnet_classifier* classifier) {
    return classifier ? classifier->classifier.classes().size() : 0;
}

const char* fleetnet_class_name(const fleetnet_classifier* classifier, std::size_t index) {
    if (index >= fleetnet_class_count(classifier)) return nullptr;
    return classifier->classifier.classes()[index].c_str();
}

const char* fleetnet_model_name(const fleetnet_classifier* classifier) {
    return classifier ? classifier->classifier.bundle().manifest().model.c_str() : nullptr;
}

const char* fleetnet_engine_name(const fleetnet_classifier* classifier) {
    return classifier ? classifier->engine_name.c_str() : nullptr;
}

const char* fleetnet_engine_version(const fleetnet_classifier* classifier) {
    return classifier ? classifier->engine_version.c_str() : nullptr;
}

const char* fleetnet_precision(const fleetnet_classifier* classifier) {
    return classifier ? classifier->precision.c_str() : nullptr;
}

std::int32_t fleetnet_threads(const fleetnet_classifier* classifier) {
    return classifier ? classifier->classifier.engine().threads() : 0;
}

std::int32_t fleetnet_classify_file(const fleetnet_classifier* classifier, const char* path,
                                    std::size_t top_k, fleetnet_score* scores, std::size_t* found) {
    return classify(classifier, top_k, scores, found, [&](const auto& preprocess, auto* out) {
        check_given(path, "path");
        preprocess.input_of(fleetnet::read_image_file(path), classifier->classifier.exact(), out);
    });
}

std::int32_t fleetnet_classify_bytes(const fleetnet_classifier* classifier,
                                     const std::uint8_t* data, std::size_t size, std::size_t top_k,
                                     fleetnet_score* scores, std::size_t* found) {
    return classify(classifier, top_k, scores, found, [&](const auto& preprocess, auto* out) {
        check_given(data, "data");
        preprocess.input_of(Bytes(data, size), classifier->classifier.exact(), out);
    });
}

std::int32_t fleetnet_classify_pixels(const fleetnet_classifier* classifier,
                                      const std::uint8_t* rgb, std::int32_t width,
                                      std::int32_t height, std::size_t top_k,
                                      fleetnet_score* scores, std::size_t* found) {
    return classify(classifier, top_k, scores, found, [&](const auto& preprocess, auto* out) {
        check_pixels(rgb, width, height);
        preprocess.input_of(rgb, width, height, out);
    });
}

std::int32_t fleetnet_classify_batch(const fleetnet_classifier* classifier,
                                     const fleetnet_image* images, std::size_t count,
                                     std::size_t top_k, fleetnet_answers** answers) {
    if (answers) *answers = nullptr;
    return guarded([&] {
        check_given(classifier, "classifier");
        check_given(answers, "answers");
        if (count > 0) check_given(images, "images");
        const int most = checked_top_k(top_k);
        const std::shared_lock<std::shared_mutex> lock(classifier->in_use);
        std::vector<fleetnet::Input> inputs;
        for (std::size_t i = 0; i < count; ++i) {
            inputs.push_back(input_of(classifier->classifier, images[i]));
        }
        auto made = std::make_unique<fleetnet_answers>();
        made->predictions =
            fleetnet::answer_all(classifier->classifier, inputs, classifier->batch_size, most);
        for (const auto& prediction : made->predictions) {
            made->scores.push_back(scores_of(prediction));
        }
        *answers = made.release();
    });
}

std::size_t fleetnet_answer_count(const fleetnet_answers* answers) {
    return answers ? answers->predictions.size() : 0;
}

const char* fleetnet_answer_error(const fleetnet_answers* answers, std::size_t image) {
    const fleetnet::Prediction* found = prediction_of(answers, image);
    return found && found->error ? found->error->c_str() : nullptr;
}

const fleetnet_score* fleetnet_answer_scores(const fleetnet_answers* answers, std::size_t image,
                                             std::size_t* count) {
    const bool there = prediction_of(answers, image) != nullptr;
    if (count) *count = there ? answers->scores[image].size() : 0;
    return there ? answers->scores[image].data() : nullptr;
}

const float* fleetnet_answer_logits(const fleetnet_answers* answers, std::size_t image,
                                    std::size_t* count) {
    const fleetnet::Prediction* found = prediction_of(answers, image);
    if (count) *count = found ? found->logits.size() : 0;
    return found ? found->logits.data() : nullptr;
}

std::int32_t fleetnet_answer_rejected(const fleetnet_answers* answers, std::size_t image) {
    const fleetnet::Prediction* found = prediction_of(answers, image);
    return found && found->rejected ? 1 : 0;
}

const float* fleetnet_answer_certainty(const fleetnet_answers* answers, std::size_t image) {
    const fleetnet::Prediction* found = prediction_of(answers, image);
    return found && found->score ? &*found->score : nullptr;
}

void fleetnet_answers_free(fleetnet_answers* answers) {
    guarded([&] { delete answers; });
}

}  // extern "C"
