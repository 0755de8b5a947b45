/* What OpenVINO takes without us: read an ONNX file, compile it in fp32, and compute one image.

usage: openvino_alone MODEL.onnx CROP THREADS

The least that any program can take which answers with this engine, through the same C interface.
*/
#include <openvino/c/openvino.h>
#include <stdio.h>
#include <stdlib.h>

static void check(ov_status_e status, const char *what) {
    if (status != OK) {
        fprintf(stderr, "error: %s: %s\n", what, ov_get_error_info(status));
        exit(2);
    }
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: openvino_alone MODEL.onnx CROP THREADS\n");
        return 2;
    }
    int64_t crop = atoll(arguments[2]);
    ov_core_t *core = NULL;
    ov_model_t *model = NULL;
    ov_compiled_model_t *compiled = NULL;
    ov_infer_request_t *request = NULL;
    ov_tensor_t *input = NULL, *output = NULL;
    ov_partial_shape_t partial;
    ov_shape_t shape;
    int64_t sides[4] = {1, crop, crop, 3};
    void *logits = NULL;

    check(ov_core_create(&core), "core");
    check(ov_core_read_model(core, arguments[1], NULL, &model), "read");
    check(ov_partial_shape_create_static(4, sides, &partial), "shape");
    check(ov_model_reshape_single_input(model, partial), "reshape");
    check(ov_core_compile_model(core, model, "CPU", 6, &compiled, "PERFORMANCE_HINT", "LATENCY",
                                "INFERENCE_PRECISION_HINT", "f32", "INFERENCE_NUM_THREADS",
                                arguments[3]),
          "compile");
    check(ov_compiled_model_create_infer_request(compiled, &request), "request");
    check(ov_shape_create(4, sides, &shape), "shape");
    check(ov_tensor_create(U8, shape, &input), "tensor");
    check(ov_infer_request_set_input_tensor(request, input), "input");
    check(ov_infer_request_infer(request), "infer");
    check(ov_infer_request_get_output_tensor_by_index(request, 0, &output), "output");
    check(ov_tensor_data(output, &logits), "logits");
    printf("%f\n", ((float *)logits)[0]);
    fflush(stdout);
    return 0; /* the system takes everything back */
}
