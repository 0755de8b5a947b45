#include "batches.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "error.hpp"

namespace fleetnet {
namespace {

/// Answer one batch into `answers`. What has no image is black: engines compile for each size of
/// batch, which takes longer than computing it.
void answer_batch(const Classifier& classifier, const std::vector<Input>& inputs, std::size_t first,
                  std::size_t batch_size, int top_k, std::vector<Prediction>& answers) {
    const std::size_t bytes = classifier.bundle().manifest().preprocess.input_bytes();
    const std::size_t size = std::min(batch_size, inputs.size() - first);
    std::vector<std::uint8_t> pixels(batch_size * bytes);
    std::vector<std::optional<std::string>> errors(size);
    for (std::size_t i = 0; i < size; ++i) {
        try {
            inputs[first + i](pixels.data() + i * bytes);
        } catch (const Error& error) {
            if (error.code() != Code::image) throw;
            errors[i] = error.what();
            std::fill_n(pixels.data() + i * bytes, bytes, std::uint8_t{0});
        }
    }
    // Without an image to answer there is nothing to compute.
    const bool any = std::any_of(errors.begin(), errors.end(), [](const auto& e) { return !e; });
    std::vector<Prediction> found(size);
    if (any) found = classifier.answer(pixels.data(), batch_size, top_k);
    for (std::size_t i = 0; i < size; ++i) {
        if (errors[i]) {
            answers[first + i].error = errors[i];
        } else {
            answers[first + i] = std::move(found[i]);
        }
    }
}

}  // namespace

std::vector<Prediction> answer_all(const Classifier& classifier, const std::vector<Input>& inputs,
                                   std::size_t batch_size, int top_k) {
    std::vector<Prediction> answers(inputs.size());
    batch_size = std::min(batch_size, inputs.size());
    if (batch_size == 0) return answers;
    const std::size_t batches = (inputs.size() + batch_size - 1) / batch_size;
    std::atomic<std::size_t> next{0};
    std::exception_ptr failure;
    std::mutex failing;
    const auto work = [&] {
        try {
            for (std::size_t batch = next++; batch < batches; batch = next++) {
                answer_batch(classifier, inputs, batch * batch_size, batch_size, top_k, answers);
            }
        } catch (...) {
            next = batches;
            const std::lock_guard<std::mutex> lock(failing);
            if (!failure) failure = std::current_exception();
        }
    };
    const auto at_once =
        std::min(static_cast<std::size_t>(classifier.engine().in_flight()), batches);
    std::vector<std::thread> others;
    others.reserve(at_once);
    try {
        while (others.size() + 1 < at_once) others.emplace_back(work);
    } catch (const std::exception&) {
        // The system gives no more threads, or memory for them; those that there are do the work.
    }
    work();
    for (std::thread& other : others) other.join();
    if (failure) std::rethrow_exception(failure);
    return answers;
}

}  // namespace fleetnet
