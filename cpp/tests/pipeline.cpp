#include "pipeline.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "error.hpp"

using namespace fleetnet;

namespace {

const std::string kSet = FLEETNET_CONFORMANCE;
const std::vector<std::string> kGood = {
    kSet + "/pictures/jpeg-baseline.jpg", kSet + "/pictures/jpeg-grey.jpg",
    kSet + "/pictures/jpeg-turned-6.jpg", kSet + "/pictures/jpeg-scaled-2.jpg"};

struct Watched {
    std::atomic<int> running{0};
    std::atomic<int> most{0};
    std::atomic<int> calls{0};
    std::atomic<std::size_t> largest{0};
    std::atomic<int> fails_at{-1};  ///< number of the call that fails
    std::atomic<int> waits_at{-1};  ///< number of the call that waits for another one
};

/// Makes logits of sums of pixels, each call taking another time.
class FakeEngine : public Engine {
   public:
    FakeEngine(std::size_t input, std::size_t classes, int in_flight, Watched& watched)
        : input_(input), classes_(classes), in_flight_(in_flight), watched_(watched) {}

    std::string name() const override { return "fake"; }
    std::string version() const override { return "0"; }
    std::string precision() const override { return "fp32"; }
    int threads() const override { return in_flight_; }
    int in_flight() const override { return in_flight_; }

    void run(const std::uint8_t* pixels, std::size_t count, float* logits) override {
        const int call = watched_.calls++;
        const int running = ++watched_.running;
        for (int most = watched_.most; running > most;) {
            if (watched_.most.compare_exchange_weak(most, running)) break;
        }
        if (count > watched_.largest) watched_.largest = count;
        const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (call == watched_.waits_at && watched_.running < 2 &&
               std::chrono::steady_clock::now() < patience) {
            std::this_thread::yield();
        }
        std::this_thread::sleep_for(std::chrono::microseconds(call * 7919 % 1000));
        --watched_.running;
        if (call == watched_.fails_at) throw Error(Code::engine, "the engine failed");
        for (std::size_t image = 0; image < count; ++image) {
            const std::uint8_t* begin = pixels + image * input_;
            const int sum = std::accumulate(begin, begin + input_, 0);
            for (std::size_t k = 0; k < classes_; ++k) {
                logits[image * classes_ + k] = static_cast<float>(sum % (101 + 7 * k)) / 10.0F;
            }
        }
    }

   private:
    std::size_t input_;
    std::size_t classes_;
    int in_flight_;
    Watched& watched_;
};

Classifier classifier_of(Watched& watched, int in_flight = 1) {
    Bundle bundle = Bundle::load(kSet + "/network.onnx");
    const std::size_t input = bundle.manifest().preprocess.input_bytes();
    const std::size_t classes = bundle.manifest().classes.size();
    return {std::move(bundle), std::make_unique<FakeEngine>(input, classes, in_flight, watched)};
}

/// The good pictures over and over, with one that is missing after each ten.
std::string name_of(std::size_t number) {
    return number % 11 == 10 ? "missing " + std::to_string(number) : kGood[number % kGood.size()];
}

/// Answers `count` images and counts how many are taken but not answered yet.
struct Run {
    std::vector<Prediction> answers;
    std::size_t taken = 0;
    std::size_t most_ahead = 0;
    std::size_t stop_at = SIZE_MAX;   ///< number of the answer at which the caller throws
    std::size_t break_at = SIZE_MAX;  ///< number of the image that cannot be named

    void of(const Classifier& classifier, std::size_t count, PipelineOptions options) {
        predict(
            classifier, options,
            [&]() -> std::optional<std::string> {
                if (taken == break_at) throw std::runtime_error("no name");
                if (taken == count) return std::nullopt;
                most_ahead = std::max(most_ahead, taken + 1 - answers.size());
                return name_of(taken++);
            },
            [&](Prediction prediction) {
                if (answers.size() == stop_at) throw std::runtime_error("enough");
                answers.push_back(std::move(prediction));
            });
    }
};

PipelineOptions options_of(int workers, int batch_size = 1) {
    PipelineOptions options;
    options.top_k = 2;
    options.workers = workers;
    options.batch_size = batch_size;
    return options;
}

}  // namespace

TEST_CASE("answers come in the images' order, the same with any threads and batches") {
    constexpr std::size_t count = 90;
    Watched watched;
    const Classifier classifier = classifier_of(watched, 4);
    Run plain;
    plain.of(classifier, count, options_of(0));
    REQUIRE(plain.answers.size() == count);
    CHECK(plain.most_ahead == 1);
    for (const int workers : {0, 1, 2, 16}) {
        for (const int batch : {1, 4, 7, 64, 1000}) {
            Run run;
            run.of(classifier, count, options_of(workers, batch));
            REQUIRE(run.answers.size() == count);
            for (std::size_t place = 0; place < count; ++place) {
                const Prediction& answer = run.answers[place];
                CHECK(answer.source == name_of(place));
                CHECK(answer.error == plain.answers[place].error);
                CHECK(answer.error.has_value() == (place % 11 == 10));
                CHECK(answer.logits == plain.answers[place].logits);
                CHECK(answer.top.size() == (answer.error ? 0 : 2));
            }
        }
    }
}

TEST_CASE("few images make a small batch, and of none there is none") {
    Watched watched;
    const Classifier classifier = classifier_of(watched);
    for (const int workers : {0, 3}) {
        for (const std::size_t count : {0, 1, 5}) {
            watched.largest = 0;
            Run run;
            run.of(classifier, count, options_of(workers, 64));
            CHECK(run.answers.size() == count);
            CHECK(watched.largest == count);
        }
    }
}

TEST_CASE("what is ahead does not grow with the number of images") {
    Watched watched;
    const Classifier classifier = classifier_of(watched, 2);
    for (const auto& [workers, batch] : {std::pair{2, 1}, std::pair{2, 5}, std::pair{16, 3}}) {
        Run run;
        run.of(classifier, 400, options_of(workers, batch));
        CHECK(run.answers.size() == 400);
        CHECK(run.most_ahead <= static_cast<std::size_t>(batch * 3 + 2 * workers));
        CHECK(run.most_ahead >= static_cast<std::size_t>(workers));
    }
}

TEST_CASE("several batches are computed at once") {
    Watched watched;
    const Classifier classifier = classifier_of(watched, 4);
    watched.waits_at = 0;
    Run run;
    run.of(classifier, 200, options_of(4));
    CHECK(watched.most > 1);
    CHECK(watched.most <= 4);
}

TEST_CASE("an error ends the run after the answers to earlier images") {
    for (const int workers : {0, 2, 16}) {
        for (const int batch : {1, 4}) {
            Watched watched;
            const Classifier classifier = classifier_of(watched, 2);
            Run named, taken, computed;
            named.break_at = 37;
            CHECK_THROWS_WITH(named.of(classifier, 90, options_of(workers, batch)), "no name");
            CHECK(named.answers.size() == 37);
            taken.stop_at = 21;
            CHECK_THROWS_WITH(taken.of(classifier, 90, options_of(workers, batch)), "enough");
            CHECK(taken.answers.size() == 21);
            watched.fails_at = watched.calls + 5;
            CHECK_THROWS_WITH(computed.of(classifier, 90, options_of(workers, batch)),
                              "the engine failed");
            CHECK(computed.answers.size() < 90);
            for (std::size_t place = 0; place < computed.answers.size(); ++place) {
                CHECK(computed.answers[place].source == name_of(place));
            }
            CHECK(watched.running == 0);
        }
    }
}

TEST_CASE("an empty name is an image that cannot be read") {
    Watched watched;
    const Classifier classifier = classifier_of(watched);
    for (const int workers : {0, 2}) {
        std::vector<std::string> names = {kGood[0], "", kGood[1]};
        std::size_t place = 0;
        std::vector<Prediction> answers;
        predict(
            classifier, options_of(workers),
            [&]() -> std::optional<std::string> {
                return place < names.size() ? std::optional(names[place++]) : std::nullopt;
            },
            [&](Prediction prediction) { answers.push_back(std::move(prediction)); });
        REQUIRE(answers.size() == 3);
        CHECK(answers[1].source == "image 1");
        CHECK(answers[1].error == "an empty name: give the path of an image");
        CHECK(!answers[2].error);
    }
}

TEST_CASE("several runs share a classifier") {
    Watched watched;
    const Classifier classifier = classifier_of(watched, 4);
    std::atomic<std::size_t> right{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 16; ++thread) {
        threads.emplace_back([&, thread] {
            Run run;
            run.of(classifier, 40, options_of(thread % 4, 1 + thread % 3));
            for (std::size_t place = 0; place < run.answers.size(); ++place) {
                right += run.answers[place].source == name_of(place);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(right == 16 * 40);
}
