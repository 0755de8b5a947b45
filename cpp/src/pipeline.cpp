#include "pipeline.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "error.hpp"
#include "images/image.hpp"

namespace fleetnet {

namespace {

/// Images that the engine gets at once: inputs one after another, and what is known of each.
struct Batch {
    std::vector<std::uint8_t> inputs;
    std::vector<Prediction> predictions;
    std::vector<std::exception_ptr> failures;  ///< which end the run, in place of an answer
    std::size_t unprepared = 0;
    bool done = false;
};

class Work {
   public:
    Work(const Classifier& classifier, const PipelineOptions& options)
        : classifier_(classifier),
          preprocess_(classifier.bundle().manifest().preprocess),
          top_k_(options.top_k) {}

    /// Read, decode and resize an image to its place in a batch.
    void prepare(Batch& batch, std::size_t place) const {
        std::uint8_t* input = batch.inputs.data() + place * preprocess_.input_bytes();
        Prediction& prediction = batch.predictions[place];
        try {
            if (prediction.error) return;
            const std::vector<std::uint8_t> file = read_image_file(prediction.source);
            preprocess_.input_of(file, classifier_.exact(), input);
        } catch (const Error& error) {
            // Black where there is no readable image.
            std::memset(input, 0, preprocess_.input_bytes());
            if (error.code() == Code::image) {
                prediction.error = error.what();
            } else {
                batch.failures[place] = std::current_exception();
            }
        } catch (...) {
            std::memset(input, 0, preprocess_.input_bytes());
            batch.failures[place] = std::current_exception();
        }
    }

    /// Compute a batch. Engines compile for each size, which takes longer than computing unused
    /// images: so the last batch is as large as the others.
    void compute(Batch& batch) const {
        bool any = false;
        for (std::size_t place = 0; place < batch.predictions.size(); ++place) {
            any = any || (!batch.predictions[place].error && !batch.failures[place]);
        }
        if (!any) return;
        const std::size_t size = batch.inputs.size() / preprocess_.input_bytes();
        try {
            std::vector<Prediction> answers = classifier_.answer(batch.inputs.data(), size, top_k_);
            for (std::size_t place = 0; place < batch.predictions.size(); ++place) {
                Prediction& prediction = batch.predictions[place];
                if (prediction.error || batch.failures[place]) continue;
                prediction.top = std::move(answers[place].top);
                prediction.logits = std::move(answers[place].logits);
                prediction.rejected = answers[place].rejected;
                prediction.score = answers[place].score;
            }
        } catch (...) {
            for (std::exception_ptr& failure : batch.failures) {
                if (!failure) failure = std::current_exception();
            }
        }
    }

    std::size_t input_bytes() const { return preprocess_.input_bytes(); }

   private:
    const Classifier& classifier_;
    const Preprocess& preprocess_;
    int top_k_;
};

/// The images as they come, in batches; what `next` throws ends them.
class Source {
   public:
    Source(const std::function<std::optional<std::string>()>& next, std::size_t batch_size,
           std::size_t input_bytes)
        : next_(next), batch_size_(batch_size), input_bytes_(input_bytes) {}

    /// Return the next images; none at the end. If there are few, the first batch is as small, and
    /// the last one as large as the others.
    std::unique_ptr<Batch> next() {
        auto batch = std::make_unique<Batch>();
        while (batch->predictions.size() < batch_size_ && add(*batch)) {
        }
        const std::size_t count = batch->predictions.size();
        if (number_ == count) batch_size_ = std::max<std::size_t>(count, 1);
        if (count == 0) return nullptr;
        batch->failures.resize(count);
        batch->inputs.resize(batch_size_ * input_bytes_);
        return batch;
    }

    std::size_t batch_size() const { return batch_size_; }
    bool ended() const { return ended_; }

    void rethrow() const {
        if (failure_) std::rethrow_exception(failure_);
    }

   private:
    bool add(Batch& batch) {
        std::optional<std::string> path;
        try {
            if (!ended_) path = next_();
        } catch (...) {
            failure_ = std::current_exception();
        }
        if (!path) {
            ended_ = true;
            return false;
        }
        Prediction prediction;
        if (path->empty()) {  // which as a path would be this folder
            prediction.source = "image " + std::to_string(number_);
            prediction.error = "an empty name: give the path of an image";
        } else {
            prediction.source = std::move(*path);
        }
        ++number_;
        batch.predictions.push_back(std::move(prediction));
        return true;
    }

    const std::function<std::optional<std::string>()>& next_;
    std::size_t batch_size_;
    std::size_t input_bytes_;
    std::size_t number_ = 0;
    bool ended_ = false;
    std::exception_ptr failure_;
};

/// Hand over a batch's answers in order. Throws the first failure in place of its answer.
void hand_over(Batch& batch, const std::function<void(Prediction)>& take) {
    for (std::size_t place = 0; place < batch.predictions.size(); ++place) {
        if (batch.failures[place]) std::rethrow_exception(batch.failures[place]);
        take(std::move(batch.predictions[place]));
    }
}

/// One batch after another, in the calling thread.
void predict_here(const Work& work, Source& source, const std::function<void(Prediction)>& take) {
    while (const std::unique_ptr<Batch> batch = source.next()) {
        for (std::size_t place = 0; place < batch->predictions.size(); ++place) {
            work.prepare(*batch, place);
        }
        work.compute(*batch);
        hand_over(*batch, take);
    }
    source.rethrow();
}

/// Threads that prepare images; the one that prepares a batch's last image computes the batch.
///
/// So every thread is busy as long as there is anything to do, and no more of them compute and
/// decode than there are. Where an engine computes in threads of its own, the one that waits for
/// it leaves them its processor.
class Crew {
   public:
    Crew(const Work& work, std::size_t size) : work_(work) {
        threads_.reserve(size);
        try {
            for (std::size_t number = 0; number < size; ++number) {
                threads_.emplace_back([this] { run(); });
            }
        } catch (const std::exception&) {
            // The system gives no more threads, or memory for them: a few are enough.
            if (threads_.empty()) throw;
        }
    }

    ~Crew() { end(); }
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;

    /// Prepare a batch's images and compute it, as threads are free.
    void begin(Batch& batch) {
        {
            const std::lock_guard lock(mutex_);
            batch.unprepared = batch.predictions.size();
            for (std::size_t place = 0; place < batch.unprepared; ++place) {
                waiting_.push_back({&batch, place});
            }
        }
        work_there_.notify_all();
    }

    void wait(const Batch& batch) {
        std::unique_lock lock(mutex_);
        batch_done_.wait(lock, [&] { return batch.done; });
    }

   private:
    struct Job {
        Batch* batch;
        std::size_t place;  ///< of the image to prepare
    };

    void run() {
        std::unique_lock lock(mutex_);
        while (true) {
            work_there_.wait(lock, [&] { return ending_ || !waiting_.empty(); });
            if (ending_) return;
            const Job job = waiting_.front();
            waiting_.pop_front();
            Batch& batch = *job.batch;
            lock.unlock();
            work_.prepare(batch, job.place);
            lock.lock();
            if (--batch.unprepared > 0) continue;
            lock.unlock();
            work_.compute(batch);
            lock.lock();
            batch.done = true;
            batch_done_.notify_one();
        }
    }

    /// Drop what has not begun, and wait for the rest.
    void end() {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        work_there_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    const Work& work_;
    std::mutex mutex_;
    std::condition_variable work_there_, batch_done_;
    std::deque<Job> waiting_;
    bool ending_ = false;
    std::vector<std::thread> threads_;
};

void predict_ahead(const Work& work, Source& source, std::size_t workers, std::size_t in_flight,
                   const std::function<void(Prediction)>& take) {
    std::deque<std::unique_ptr<Batch>> running;
    Crew crew(work, workers);  // after the batches, so that it ends before them
    std::size_t images = 0;    // in these batches
    while (true) {
        // The next batch and, for each worker, the image in work and one that waits; and what is
        // computed.
        const auto ahead = [&] { return source.batch_size() * (1 + in_flight) + 2 * workers; };
        while (!source.ended() && (running.empty() || images + source.batch_size() <= ahead())) {
            std::unique_ptr<Batch> batch = source.next();
            if (!batch) break;
            images += batch->predictions.size();
            running.push_back(std::move(batch));
            crew.begin(*running.back());
        }
        if (running.empty()) break;
        Batch& oldest = *running.front();
        crew.wait(oldest);
        images -= oldest.predictions.size();
        hand_over(oldest, take);
        running.pop_front();
    }
    source.rethrow();
}

}  // namespace

void predict(const Classifier& classifier, const PipelineOptions& options,
             const std::function<std::optional<std::string>()>& next,
             const std::function<void(Prediction)>& take) {
    const Work work(classifier, options);
    const auto batch_size = static_cast<std::size_t>(std::max(options.batch_size, 1));
    Source source(next, batch_size, work.input_bytes());
    if (options.workers <= 0) {
        predict_here(work, source, take);
        return;
    }
    const auto in_flight = static_cast<std::size_t>(std::max(classifier.engine().in_flight(), 1));
    predict_ahead(work, source, static_cast<std::size_t>(options.workers), in_flight, take);
}

}  // namespace fleetnet
