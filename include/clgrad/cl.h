/* cl.h - interoperation with the user's own OpenCL code; the only header of clgrad that needs OpenCL's. */
#ifndef CLGRAD_CL_H
#define CLGRAD_CL_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>
#include <clgrad/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The objects of the context; they stay its property. NULL when the context has failed to open. */
CLG_API cl_context       clg_context_cl_context(const clg_context *ctx);
CLG_API cl_device_id     clg_context_cl_device(const clg_context *ctx);
CLG_API cl_command_queue clg_context_cl_queue(const clg_context *ctx); /* in-order; work enqueued on it is ordered with clgrad's */

/* The buffer of a persistent tensor or of a plan's output, and the tensor's offset in it in bytes. */
CLG_API cl_mem clg_tensor_cl_mem(clg_tensor *t, size_t *offset);

#ifdef __cplusplus
}
#endif
#endif
