// What Native.kt calls. An error is a RuntimeException there.
#include "answers.h"
#include "model.h"

#ifdef WITH_NCNN
#include "network.h"
#endif

#include <jni.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

template <typename Result, typename Work> Result guarded(JNIEnv *env, Work work) {
  try {
    return work();
  } catch (const std::exception &error) {
    env->ThrowNew(env->FindClass("java/lang/RuntimeException"), error.what());
    return Result();
  }
}

std::vector<std::uint8_t> bytes_of(JNIEnv *env, jbyteArray array) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(env->GetArrayLength(array)));
  env->GetByteArrayRegion(array, 0, static_cast<jsize>(bytes.size()),
                          reinterpret_cast<jbyte *>(bytes.data()));
  return bytes;
}

jbyteArray array_of(JNIEnv *env, const void *bytes, std::size_t size) {
  const jbyteArray array = env->NewByteArray(static_cast<jsize>(size));
  if (array != nullptr)
    env->SetByteArrayRegion(array, 0, static_cast<jsize>(size), static_cast<const jbyte *>(bytes));
  return array;
}

jfloatArray array_of(JNIEnv *env, const std::vector<float> &values) {
  const jfloatArray array = env->NewFloatArray(static_cast<jsize>(values.size()));
  if (array != nullptr)
    env->SetFloatArrayRegion(array, 0, static_cast<jsize>(values.size()), values.data());
  return array;
}

} // namespace

extern "C" {

JNIEXPORT jbyteArray JNICALL Java_org_fleetnet_classify_Native_input(JNIEnv *env, jobject,
                                                                     jbyteArray rgb, jint width,
                                                                     jint height) {
  return guarded<jbyteArray>(env, [&] {
    const std::vector<std::uint8_t> picture = bytes_of(env, rgb);
    if (width < 1 || height < 1 || picture.size() != std::size_t{3} * width * height)
      throw std::runtime_error("the picture has another size");
    const std::vector<std::uint8_t> pixels = input_of(picture.data(), width, height);
    return array_of(env, pixels.data(), pixels.size());
  });
}

JNIEXPORT jfloatArray JNICALL Java_org_fleetnet_classify_Native_probabilities(JNIEnv *env, jobject,
                                                                              jfloatArray logits) {
  return guarded<jfloatArray>(env, [&] {
    if (env->GetArrayLength(logits) < model::class_count)
      throw std::runtime_error("there are fewer logits than classes");
    std::vector<float> values(model::class_count);
    env->GetFloatArrayRegion(logits, 0, model::class_count, values.data());
    const std::vector<double> found = probabilities_of(values.data());
    return array_of(env, std::vector<float>(found.begin(), found.end()));
  });
}

// In UTF-8: Java's own functions take another form of it.
JNIEXPORT jbyteArray JNICALL Java_org_fleetnet_classify_Native_name(JNIEnv *env, jobject,
                                                                    jint index) {
  const std::string name = index < 0 || index >= model::class_count ? "" : model::classes[index];
  return array_of(env, name.data(), name.size());
}

// The numbers of images and of classes that an answer has.
JNIEXPORT jint JNICALL Java_org_fleetnet_classify_Native_batch(JNIEnv *, jobject) {
  return model::batch;
}

JNIEXPORT jint JNICALL Java_org_fleetnet_classify_Native_classes(JNIEnv *, jobject) {
  return model::class_count;
}

JNIEXPORT jboolean JNICALL Java_org_fleetnet_classify_Native_hasNcnn(JNIEnv *, jobject) {
#ifdef WITH_NCNN
  return JNI_TRUE;
#else
  return JNI_FALSE;
#endif
}

#ifdef WITH_NCNN

JNIEXPORT jlong JNICALL Java_org_fleetnet_classify_Native_openNcnn(JNIEnv *env, jobject,
                                                                   jbyteArray folder) {
  return guarded<jlong>(env, [&] {
    const std::vector<std::uint8_t> path = bytes_of(env, folder);
    return reinterpret_cast<jlong>(new Network(std::string(path.begin(), path.end())));
  });
}

JNIEXPORT jfloatArray JNICALL Java_org_fleetnet_classify_Native_runNcnn(JNIEnv *env, jobject,
                                                                        jlong network,
                                                                        jbyteArray pixels) {
  return guarded<jfloatArray>(env, [&] {
    const int crop = model::preprocess.crop;
    const std::vector<std::uint8_t> given = bytes_of(env, pixels);
    if (given.size() != static_cast<std::size_t>(model::batch) * crop * crop * 3)
      throw std::runtime_error("these are not the pixels that the network takes");
    return array_of(env, reinterpret_cast<Network *>(network)->logits(given.data()));
  });
}

JNIEXPORT void JNICALL Java_org_fleetnet_classify_Native_closeNcnn(JNIEnv *, jobject,
                                                                   jlong network) {
  delete reinterpret_cast<Network *>(network);
}

#endif

} // extern "C"
