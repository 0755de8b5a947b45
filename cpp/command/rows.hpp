// What is printed of the answers: a table for people, JSON or CSV for programs.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "classifier.hpp"
#include "streams.hpp"

namespace fleetnet::command {

/// Writes a row for each prediction, and counts them.
class Rows {
   public:
    Rows(Output& output, const std::vector<std::string>& classes)
        : output_(output), classes_(classes) {}
    virtual ~Rows() = default;

    /// Write what stands above the first row.
    virtual void begin() {}
    void add(const Prediction& prediction);

    std::size_t total() const { return total_; }
    std::size_t failed() const { return failed_; }

   protected:
    virtual void write(const Prediction& prediction) = 0;
    const std::string& label(const Score& score) const {
        return classes_[static_cast<std::size_t>(score.index)];
    }

    Output& output_;

   private:
    const std::vector<std::string>& classes_;
    std::size_t total_ = 0;
    std::size_t failed_ = 0;
};

std::unique_ptr<Rows> json_rows(Output& output, const std::vector<std::string>& classes);

/// `rejects` adds the columns of a bundle with a rejection.
std::unique_ptr<Rows> csv_rows(Output& output, const std::vector<std::string>& classes, int top_k,
                               bool rejects);

/// A row has as many classes as fit; a single image has all of them, in several lines if need be.
std::unique_ptr<Rows> table_rows(Output& output, const std::vector<std::string>& classes,
                                 bool single);

}  // namespace fleetnet::command
