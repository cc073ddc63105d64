// The other half of Native.java.

#include <jni.h>
#include <pthread.h>

static JavaVM *vm;
static jclass class;

JNIEXPORT jint JNICALL Java_Native_sum(JNIEnv *env, jclass caller, jintArray values) {
    jsize count = (*env)->GetArrayLength(env, values);
    jint *elements = (*env)->GetIntArrayElements(env, values, NULL);
    jint sum = 0;
    for (jsize i = 0; i < count; i++)
        sum += elements[i];
    (*env)->ReleaseIntArrayElements(env, values, elements, JNI_ABORT);
    return sum;
}

static void *attached(void *unused) {
    JNIEnv *env;
    if ((*vm)->AttachCurrentThread(vm, (void **)&env, NULL) != JNI_OK)
        return NULL;
    jmethodID method = (*env)->GetStaticMethodID(env, class, "called", "(Ljava/lang/String;)V");
    jstring words = (*env)->NewStringUTF(env, "from a thread of C");
    (*env)->CallStaticVoidMethod(env, class, method, words);
    (*vm)->DetachCurrentThread(vm);
    return NULL;
}

JNIEXPORT void JNICALL Java_Native_fromThreads(JNIEnv *env, jclass caller, jint count) {
    pthread_t threads[count];
    (*env)->GetJavaVM(env, &vm);
    class = (*env)->NewGlobalRef(env, caller);
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, attached, NULL);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

JNIEXPORT void JNICALL Java_Native_fail(JNIEnv *env, jclass caller, jstring words) {
    const char *text = (*env)->GetStringUTFChars(env, words, NULL);
    (*env)->ThrowNew(env, (*env)->FindClass(env, "java/lang/IllegalArgumentException"), text);
    (*env)->ReleaseStringUTFChars(env, words, text);
}
