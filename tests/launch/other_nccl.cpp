// A libnccl.so.2 that is not LibTorch's: it answers with another version.
extern "C" {

int ncclGetVersion(int* version) {
  *version = 22703;
  return 0;
}

const char* ncclGetErrorString(int) {
  return "";
}
}
