// Goroutines over channels, garbage, timers, children, signals and loopback connections, all at once.
// Prints the same each time.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	var wait sync.WaitGroup
	results := make([]string, 6)
	for i, part := range []func() string{channels, garbage, timers, children, signals, connections} {
		wait.Add(1)
		go func() {
			defer wait.Done()
			results[i] = part()
		}()
	}
	wait.Wait()
	for _, result := range results {
		fmt.Println(result)
	}
}

// A chain of goroutines hands numbers on.
func channels() string {
	first := make(chan int)
	last := first
	for range 50 {
		next := make(chan int)
		go func(from, to chan int) {
			for n := range from {
				to <- n + 1
			}
			close(to)
		}(last, next)
		last = next
	}
	go func() {
		for n := range 100 {
			first <- n
		}
		close(first)
	}()
	sum := 0
	for n := range last {
		sum += n
	}
	return fmt.Sprint("channels ", sum)
}

func garbage() string {
	kept := make(map[int][]byte)
	for i := range 20000 {
		kept[i%100] = make([]byte, 100+i%1000)
		if i%4000 == 0 {
			runtime.GC()
		}
	}
	sum := 0
	for _, bytes := range kept {
		sum += len(bytes)
	}
	return fmt.Sprint("garbage ", sum)
}

func timers() string {
	var fired atomic.Int32
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Add(1)
		time.AfterFunc(time.Duration(i)*time.Millisecond, func() {
			fired.Add(1)
			wait.Done()
		})
	}
	stopped := time.AfterFunc(time.Hour, func() { fired.Add(1000) }).Stop()
	wait.Wait()
	return fmt.Sprint("timers ", fired.Load(), " ", stopped)
}

func children() string {
	var right atomic.Int32
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			script := fmt.Sprintf("echo %d; exit %d", i, i)
			output, err := exec.Command("/bin/sh", "-c", script).Output()
			exited := err == nil && i == 0
			if ended, ok := err.(*exec.ExitError); ok {
				exited = ended.ExitCode() == i
			}
			if exited && string(output) == fmt.Sprintln(i) {
				right.Add(1)
			}
		}()
	}
	wait.Wait()
	return fmt.Sprint("children ", right.Load())
}

// One signal after the other, each waited for: none is lost.
func signals() string {
	came := make(chan os.Signal, 1)
	signal.Notify(came, syscall.SIGUSR1)
	for range 30 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		<-came
	}
	return "signals 30"
}

func connections() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err.Error()
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(connection, connection)
				_ = connection.Close()
			}()
		}
	}()
	var echoed atomic.Int64
	var wait sync.WaitGroup
	for range 8 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			connection, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				return
			}
			go func() {
				_, _ = connection.Write(make([]byte, 100_000))
				_ = connection.(*net.TCPConn).CloseWrite()
			}()
			n, _ := io.Copy(io.Discard, connection)
			echoed.Add(n)
			_ = connection.Close()
		}()
	}
	wait.Wait()
	_ = listener.Close()
	return fmt.Sprint("connections ", echoed.Load())
}
