// Names the most probable class of each image: Classify.exe BUNDLE IMAGE...
//
//     mcs Classify.cs && mono Classify.exe BUNDLE IMAGE...     (or dotnet)
using System;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

sealed class Classifier : IDisposable
{
    [StructLayout(LayoutKind.Sequential)]
    public struct Score
    {
        public int Index;
        public float Probability;
    }

    const string Library = "fleetnet"; // fleetnet.dll, or libfleetnet.so.1

    [DllImport(Library)] static extern IntPtr fleetnet_last_error();
    [DllImport(Library)] static extern int fleetnet_open(byte[] bundle, IntPtr options, out IntPtr classifier);
    [DllImport(Library)] static extern void fleetnet_close(IntPtr classifier);
    [DllImport(Library)] static extern IntPtr fleetnet_class_name(IntPtr classifier, UIntPtr index);
    [DllImport(Library)] static extern int fleetnet_classify_file(
        IntPtr classifier, byte[] path, UIntPtr topK, [Out] Score[] scores, out UIntPtr found);

    IntPtr handle;

    public Classifier(string bundle)
    {
        Check(fleetnet_open(Utf8(bundle), IntPtr.Zero, out handle));
    }

    public Score[] ClassifyFile(string path, int topK)
    {
        var scores = new Score[topK];
        UIntPtr found;
        Check(fleetnet_classify_file(handle, Utf8(path), (UIntPtr)topK, scores, out found), path + ": ");
        Array.Resize(ref scores, (int)found);
        return scores;
    }

    public string NameOf(int index)
    {
        return Text(fleetnet_class_name(handle, (UIntPtr)index));
    }

    public void Dispose()
    {
        fleetnet_close(handle);
        handle = IntPtr.Zero;
    }

    static void Check(int code, string where = "")
    {
        if (code != 0) throw new InvalidOperationException(where + Text(fleetnet_last_error()));
    }

    static byte[] Utf8(string text)
    {
        return Encoding.UTF8.GetBytes(text + "\0");
    }

    static string Text(IntPtr text)
    {
        var length = 0;
        while (Marshal.ReadByte(text, length) != 0) ++length;
        var bytes = new byte[length];
        Marshal.Copy(text, bytes, 0, length);
        return Encoding.UTF8.GetString(bytes);
    }
}

static class Program
{
    static int Main(string[] arguments)
    {
        if (arguments.Length < 2)
        {
            Console.Error.WriteLine("usage: Classify.exe BUNDLE IMAGE...");
            return 2;
        }
        try
        {
            using (var classifier = new Classifier(arguments[0]))
            {
                for (var i = 1; i < arguments.Length; ++i)
                {
                    var best = classifier.ClassifyFile(arguments[i], 1)[0];
                    var share = best.Probability.ToString("F4", CultureInfo.InvariantCulture);
                    Console.WriteLine(arguments[i] + ": " + classifier.NameOf(best.Index) + " " + share);
                }
            }
            return 0;
        }
        catch (InvalidOperationException error)
        {
            Console.Error.WriteLine("error: " + error.Message);
            return 2;
        }
    }
}
